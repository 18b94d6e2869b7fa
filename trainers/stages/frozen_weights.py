"""Frozen weights in half precision: cast once a stage, not in every step at every use."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import nn
from torch.distributed.tensor import DTensor

_PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


class FrozenWeights:
    """The frozen weights of a module that is trained under autocast, and half-precision copies of them.

    Autocast casts the weights of linear and convolution layers whenever they are used; it remembers the copies of
    trained weights alone, which change. Those of frozen ones are made here, and take the originals' place while a step
    is computed: the step's result stays the same, bit for bit, and whoever looks at the module between steps
    (evaluation, checkpoints, the next stage) finds the originals.

    Weights that FSDP2 has cut are left as they are.

    Args:
        accelerator: of the run; without mixed precision there is nothing to cast.
        module: the prepared module, whose trained parameters are known.
    """

    def __init__(self, accelerator: Accelerator, module: nn.Module) -> None:
        precision = _PRECISIONS.get(accelerator.mixed_precision)
        parameters = frozen_parameters(module) if precision is not None else []
        self.weights = [(parameter, parameter.data, parameter.data.to(precision)) for parameter in parameters]

    @contextmanager
    def in_half_precision(self) -> Iterator[None]:
        """Compute with the copies, forward and backward: autograd keeps the parameters themselves in between."""
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
