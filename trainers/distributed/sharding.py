"""Sharded launches: of the model (FSDP2), or of gradients and optimizer (ZeRO-2).

Under FSDP2 layers gather their weights whenever they are called. Other weights are gathered only while the prepared
module is called, so evaluation and saving have to ask. DeepSpeed's engine takes over a module and its optimizer, and
clips, steps and skips by itself.

Under both, a stage trains a copy and throws it away: the whole model stays unchanged and loads the stage's result from
the files. In other launches nothing here has an effect.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FSDPModule

from trainers.arguments.settings import TwoStageTrainingArguments

Model = TypeVar("Model", bound=nn.Module)

_WHOLE_ON_CPU = StateDictOptions(full_state_dict=True, cpu_offload=True)
_FROM_WHOLE = StateDictOptions(full_state_dict=True)


def is_cut(accelerator: Accelerator) -> bool:
    """Whether this launch shards anything."""
    return accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)


def weights_kind(accelerator: Accelerator) -> str:
    """How a run holds weights and optimizer; checkpoints of different kinds do not fit."""
    return f"cut by {accelerator.distributed_type.value}" if is_cut(accelerator) else "whole"


def model_to_train(accelerator: Accelerator, model: Model) -> Model:
    """Return the model on this device, or for a sharded launch a copy, while the whole one waits on the CPU."""
    if not is_cut(accelerator):
        return model.to(accelerator.device)
    return copy.deepcopy(model.to("cpu")).to(accelerator.device)


def prepare(
    accelerator: Accelerator, args: TwoStageTrainingArguments, module: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Run `accelerator.prepare` on a module and its optimizer, for any launch.

    The mixed precision of FSDP2 and DeepSpeed is not used: it would round the weights, the mean of the gradients, and
    the loss. The step runs under autocast instead, like in every other launch.

    Args:
        accelerator: of the run.
        args: settings of the run.
        module: changed in place if it is sharded.
        optimizer: of the module's parameters.

    Raises ValueError: a sharded launch trains a parameter without dimensions, whose gradient nobody would average.
    """
    if not is_cut(accelerator):
        return accelerator.prepare(module, optimizer)
    half = args.mixed_precision == "bf16"
    module.forward = torch.autocast(accelerator.device.type, dtype=torch.bfloat16, enabled=half)(module.forward)
    scalars = _scalars(module)
    if accelerator.distributed_type == DistributedType.FSDP:
        accelerator.state.fsdp_plugin.ignored_modules = [nn.ParameterList(scalars)]
        accelerator.state.fsdp_plugin.mixed_precision_policy = None
        return accelerator.prepare(module, optimizer)
    accelerator.state.deepspeed_plugin.deepspeed_config |= {
        "train_micro_batch_size_per_gpu": args.batch_size,
        "gradient_clipping": args.max_grad_norm,
        "bf16": {"enabled": False},
    }
    for scalar in scalars:
        scalar.data = scalar.data[None]
    prepared = accelerator.prepare(module, optimizer)
    for scalar in scalars:
        scalar.data = scalar.data[0]
    return prepared


def _scalars(module: nn.Module) -> list[nn.Parameter]:
    """Parameters without dimensions, such as CLIP's `logit_scale`, which neither FSDP2 nor DeepSpeed 0.19 takes.

    Raises ValueError: such a parameter is trained.
    """
    scalars = {name: parameter for name, parameter in module.named_parameters() if not parameter.ndim}
    for name, parameter in scalars.items():
        if parameter.requires_grad:
            raise ValueError(f"{name} is a trained scalar, which cannot be cut; fix it, or launch with ddp")
    return list(scalars.values())


@contextmanager
def accumulating(accelerator: Accelerator, module: nn.Module) -> Iterator[None]:
    """While this lasts, gradients of a prepared module are added up, and neither exchanged nor stepped with."""
    accelerator.sync_gradients = False  # DeepSpeed's engine would step after each backward
    try:
        with accelerator.no_sync(module):
            yield
    finally:
        accelerator.sync_gradients = True


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


def module_state(accelerator: Accelerator, module: nn.Module) -> dict[str, torch.Tensor]:
    """The whole weights of a module that was prepared, or of a part of it.

    All processes must call it. Where something is cut, they are copies on the CPU, and what the first process gets is
    what counts.
    """
    if accelerator.distributed_type == DistributedType.FSDP:
        return get_model_state_dict(module, options=_WHOLE_ON_CPU)
    state = module.state_dict()
    if is_cut(accelerator):  # parameters are views into one buffer, all of which would be saved with each
        return {name: value.to("cpu", copy=True) for name, value in state.items()}
    return state


def load_module_state(accelerator: Accelerator, module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Put whole weights, the same on every process, into a module that was prepared, or into a part of it.

    `load_optimizer_state` has to follow: DeepSpeed's optimizer has weights of its own, and takes them up there.
    """
    if accelerator.distributed_type == DistributedType.FSDP:
        set_model_state_dict(module, state, options=_FROM_WHOLE)
    else:
        module.load_state_dict(state)


def optimizer_state(accelerator: Accelerator, module: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    """The whole state of an optimizer: numbers, texts, tensors, and containers of them.

    All processes must call it; what the first one gets is what counts.

    Args:
        accelerator: that prepared both.
        module: the prepared module.
        optimizer: the prepared optimizer of its parameters.
    """
    if accelerator.distributed_type == DistributedType.FSDP:
        return get_optimizer_state_dict(module, optimizer.optimizer, options=_WHOLE_ON_CPU)
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        parts = [None] * accelerator.num_processes if accelerator.is_main_process else None
        dist.gather_object(optimizer.optimizer.optimizer.state_dict(), parts)
        return parts
    return optimizer.state_dict()


def load_optimizer_state(
    accelerator: Accelerator, module: nn.Module, optimizer: torch.optim.Optimizer, state: Any
) -> None:
    """Put back what `optimizer_state` returned on the first process; the arguments are as there."""
    if accelerator.distributed_type == DistributedType.FSDP:
        set_optimizer_state_dict(module, optimizer.optimizer, state, options=_FROM_WHOLE)
    elif accelerator.distributed_type == DistributedType.DEEPSPEED:
        optimizer.optimizer.refresh_fp32_params()
        optimizer.optimizer.optimizer.load_state_dict(state[accelerator.process_index])
    else:
        optimizer.load_state_dict(state)


__all__ = [
    "accumulating",
    "is_cut",
    "load_module_state",
    "load_optimizer_state",
    "model_to_train",
    "module_state",
    "optimizer_state",
    "prepare",
    "weights_kind",
    "whole_weights",
]
