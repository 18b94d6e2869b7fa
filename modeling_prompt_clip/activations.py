"""CLIP's activation with half the memory: `QuickGELU` keeps its input for the backward pass, and nothing else."""

from typing import Any

import torch
from torch import nn

SLOPE = 1.702


class _QuickGELU(torch.autograd.Function):
    """`x * sigmoid(1.702 x)` and its gradient, which is that of SiLU at `1.702 x`."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(states)
        return (SLOPE * states).sigmoid_().mul_(states)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (states,) = ctx.saved_tensors
        return torch.ops.aten.silu_backward(gradient, SLOPE * states)


class QuickGELU(nn.Module):
    """CLIP's fast GELU (arXiv 1606.08415, section 2), bit for bit transformers' `quick_gelu`.

    Written out, three operations each keep what they need: the states, their product with 1.702 and its sigmoid. The
    gradient needs the states alone. It has no second derivative: asking for one is an error. Where no gradient is
    wanted the operations are torch's own, for export.
    """

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Any shape -> the same shape and dtype."""
        if torch.is_grad_enabled() and states.requires_grad:
            return _QuickGELU.apply(states)
        return states * torch.sigmoid(SLOPE * states)


__all__ = ["QuickGELU"]
