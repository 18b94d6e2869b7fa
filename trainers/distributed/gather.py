"""Gather embeddings (with gradients) and ids from all processes."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

Result = TypeVar("Result")


def world_size() -> int:
    """Number of processes; 1 without distribution."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_index() -> int:
    """Rank of this process; 0 without distribution."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def from_main_process(accelerator: Accelerator, work: Callable[[], Result]) -> Result:
    """Call `work` on the first process and return its result on all; every process must call this.

    Raises OSError, ValueError: `work` raised it; all processes raise it with the same message.
    """
    if accelerator.num_processes == 1:
        return work()
    outcome: list[Any] = [None, None]
    failure: Exception | None = None
    if accelerator.is_main_process:
        try:
            outcome[0] = work()
        except (OSError, ValueError, TypeError) as error:
            failure = error
            outcome[1] = (isinstance(error, OSError), str(error))
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        is_os_error, words = outcome[1]
        raise (OSError if is_os_error else ValueError)(words) from failure
    return outcome[0]


# torch.distributed.nn.functional.all_gather gives the same gradients, but torch 2.13 deprecates it; its replacement is
# in a private module, and was renamed there in the same version
class _GatherWithGradient(torch.autograd.Function):
    """all_gather forward; backward sums the gradients of this rank's slice over ranks."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, tensor: torch.Tensor) -> torch.Tensor:
        ctx.rows = tensor.shape[0]
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        start = dist.get_rank() * ctx.rows
        return gradient[start : start + ctx.rows]


def gather_with_gradient(embeddings: torch.Tensor) -> torch.Tensor:
    """Concatenate the embeddings of all processes in rank order.

    Every rank computes the loss of the whole batch, so the gradient of its slice is `world_size` times too large.
    DDP's mean over ranks cancels the factor: parameters get the gradient of one process with the whole batch.

    Args:
        embeddings: `(batch, dim)`, the same batch size on every rank.

    Returns:
        `(world_size * batch, dim)`; the input itself without distribution.
    """
    return embeddings if world_size() == 1 else _GatherWithGradient.apply(embeddings)


def gather_ids(ids: torch.Tensor) -> torch.Tensor:
    """Concatenate the ids of all processes in rank order, `(batch,)` -> `(world_size * batch,)`."""
    if world_size() == 1:
        return ids
    parts = [torch.empty_like(ids) for _ in range(world_size())]
    dist.all_gather(parts, ids.contiguous())
    return torch.cat(parts)


__all__ = ["from_main_process", "gather_ids", "gather_with_gradient", "process_index", "world_size"]
