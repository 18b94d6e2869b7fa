"""What a model cut into parts among processes (FSDP2) needs beside a whole one; without FSDP nothing here has effect.

Its layers gather their own weights whenever they are called. What lies around them is gathered only while the prepared
module is called itself, so evaluation and saving have to ask.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn
from torch.distributed.fsdp import FSDPModule


def leave_scalars_whole(accelerator: Accelerator, module: nn.Module) -> None:
    """Keep parameters without dimensions, such as CLIP's `logit_scale`, out of FSDP2, which refuses them.

    Call it before `accelerator.prepare`.

    Raises:
        ValueError: such a parameter is trained: nobody would average its gradient over the processes.
    """
    if accelerator.distributed_type != DistributedType.FSDP:
        return
    scalars = nn.Module()
    for number, (name, parameter) in enumerate(module.named_parameters()):
        if parameter.ndim:
            continue
        if parameter.requires_grad:
            raise ValueError(f"{name} is a trained scalar, which FSDP2 cannot hold; fix it, or launch with ddp")
        scalars.register_parameter(str(number), parameter)
    accelerator.state.fsdp_plugin.ignored_modules = [scalars]


@contextmanager
def whole_weights(module: nn.Module) -> Iterator[None]:
    """While this lasts, methods of the model inside a prepared module can be called: all processes must be in it."""
    sharded = isinstance(module, FSDPModule)
    if sharded:
        module.unshard()
    try:
        yield
    finally:
        if sharded:
            module.reshard()


def full_state_dict(accelerator: Accelerator, module: nn.Module, prefix: str = "model.") -> dict[str, torch.Tensor]:
    """The whole weights of a part of a prepared module, on the CPU where they were cut.

    All processes must call it; under FSDP all but the first get an empty one.

    Args:
        accelerator: that prepared the module.
        module: the prepared module.
        prefix: how the names of the part's weights begin; it is cut off.
    """
    state = accelerator.get_state_dict(module)
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


__all__ = ["full_state_dict", "leave_scalars_whole", "whole_weights"]
