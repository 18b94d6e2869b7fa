"""How layers compute in a stage: compiled, recomputed, frozen weights in half precision."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from accelerate import Accelerator
from torch import nn
from torch.distributed.tensor import DTensor
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from modeling_prompt_clip import PromptCLIPModel

_PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def check_compiler(device: torch.device) -> None:
    """Check that torch.compile works on this machine.

    Raises ValueError: it does not.
    """
    try:
        torch.compile(lambda numbers: numbers + 1)(torch.zeros(1, device=device))
    except RuntimeError as error:
        needed = "a C++ compiler" if device.type == "cpu" else "Triton and a C compiler"
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"compile is set, but torch.compile does not work on this machine ({reason}); it needs {needed}: "
            "install that, or leave compile out"
        ) from error


@contextmanager
def layer_modes(module: nn.Module, *, compiled: bool, checkpointed: bool) -> Iterator[None]:
    """Change how the layers of the PromptCLIP inside a module compute; the state dict stays the same.

    Args:
        module: holds a PromptCLIPModel, wrapped or not.
        compiled: compile each layer. The layers of a tower share one function, which a second caption length compiles
            once more, for any length.
        checkpointed: keep only the layers' inputs, and recompute the rest in the backward pass.
    """
    clip = next(part for part in module.modules() if isinstance(part, PromptCLIPModel))
    layers = [part for part in clip.modules() if isinstance(part, CLIPEncoderLayer)]
    if checkpointed:
        clip.activation_checkpointing_enable()
        clip.disable_input_require_grads()  # which only reentrant checkpointing needs, and which costs gradients
    for layer in layers if compiled else ():
        layer.forward = torch.compile(layer.forward)  # type: ignore[method-assign]
    try:
        # towers, first, middle and last layers, passes with gradients and without are compiled each for themselves
        with torch._dynamo.config.patch(recompile_limit=32) if compiled else nullcontext():
            yield
    finally:
        if checkpointed:
            clip.activation_checkpointing_disable()
        for layer in layers if compiled else ():
            del layer.forward
        if compiled:
            torch.compiler.reset()


def uncompiled(compiled: bool) -> AbstractContextManager[None]:
    """Run compiled layers eagerly: each new shape in evaluation would be compiled."""
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


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


__all__ = ["FrozenWeights", "check_compiler", "frozen_parameters", "layer_modes", "uncompiled"]
