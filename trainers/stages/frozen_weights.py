"""Cast frozen weights to half precision once a stage instead of at every use."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import nn
from torch.distributed.tensor import DTensor

_PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


class FrozenWeights:
    """Half-precision copies of a module's frozen weights, which replace them during a step.

    Autocast caches its copies of trained weights only, and casts frozen ones at every use. The result of a step is the
    same, bit for bit. Weights that FSDP2 splits are left out.
    """

    def __init__(self, accelerator: Accelerator, module: nn.Module) -> None:
        precision = _PRECISIONS.get(accelerator.mixed_precision)
        parameters = frozen_parameters(module) if precision is not None else []
        self.weights = [(parameter, parameter.data, parameter.data.to(precision)) for parameter in parameters]

    @contextmanager
    def in_half_precision(self) -> Iterator[None]:
        """Use the copies, forward and backward; autograd keeps the parameters themselves."""
        try:
            for parameter, _, half in self.weights:
                parameter.data = half
            yield
        finally:
            for parameter, original, _ in self.weights:
                parameter.data = original


def frozen_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The float32 parameters of linear and convolution layers that require no gradient and are whole."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    candidates = [parameter for layer in layers for parameter in layer.parameters(recurse=False)]
    return [
        parameter
        for parameter in candidates
        if not parameter.requires_grad and parameter.dtype == torch.float32 and not isinstance(parameter, DTensor)
    ]


__all__ = ["FrozenWeights", "frozen_parameters"]
