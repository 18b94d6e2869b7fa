"""CLIP's encoder layer with a slot for fixed deep prompts.

A prompt of layer l acts only through the keys `W_k LN1(p)` and values `W_v LN1(p)` that the layer's tokens attend to.
Where prompts are replaced at every prompted layer and dropped after the last, this equals concatenate-and-replace
(VPT-deep, arXiv 2203.12119; IVLP in MaPLe, arXiv 2210.03117) without the cost of carrying the prompts along.
"""

from typing import Any

import torch
from torch import nn
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from .prompted_attention import PromptCLIPAttention, pooled_attention_mask

SLOPE = 1.702


class _QuickGELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(states)
        return (SLOPE * states).sigmoid_().mul_(states)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (states,) = ctx.saved_tensors
        return torch.ops.aten.silu_backward(gradient, SLOPE * states)


class QuickGELU(nn.Module):
    """CLIP's fast GELU, equal to transformers' bit for bit with less memory.

    `x * sigmoid(1.702 x)` (arXiv 1606.08415, section 2). Autograd would keep three tensors; the gradient, that of SiLU
    at `1.702 x`, needs only the input. There is no second derivative. Without gradients the operations are torch's
    own, for export.
    """

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Keep shape and dtype."""
        if torch.is_grad_enabled() and states.requires_grad:
            return _QuickGELU.apply(states)
        return states * torch.sigmoid(SLOPE * states)


class PromptSlot(nn.Module):
    """The fixed prompts of one encoder layer, a buffer `weight` `(length, hidden_size)`.

    A buffer is never trained, whatever `requires_grad_` is called on. An empty slot adds no key to CLIP's state dict,
    yet follows the model's device and dtype.
    """

    def __init__(self, hidden_size: int, length: int = 0) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(length, hidden_size), persistent=length > 0)

    def set_prompts(self, weight: torch.Tensor) -> None:
        """Replace the prompts by `weight` `(length, hidden_size)`; length 0 empties the slot."""
        self.register_buffer("weight", weight.detach().to(self.weight, copy=True), persistent=len(weight) > 0)

    def forward(self) -> torch.Tensor | None:
        """The prompts `(length, hidden_size)`, or None if empty."""
        return self.weight if len(self.weight) else None


class PromptCLIPEncoderLayer(CLIPEncoderLayer):
    """CLIP's encoder layer with a [`PromptSlot`]."""

    def __init__(self, config: Any, prompt_length: int = 0) -> None:
        super().__init__(config)
        self.self_attn = PromptCLIPAttention(config)
        self.prompt = PromptSlot(config.hidden_size, prompt_length)
        if config.hidden_act == "quick_gelu":
            self.mlp.activation_fn = QuickGELU()

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Run one layer; prompts pass through its first norm.

        Args:
            hidden_states: `(batch, tokens, hidden_size)`.
            attention_mask: as the attention implementation wants it, without the prompts' columns.
            positions: `(batch,)`; compute only the token at this place of each sequence.

        Returns: `(batch, tokens, hidden_size)`, with `positions` `(batch, 1, hidden_size)`.
        """
        prompt = self.prompt()
        if prompt is not None:
            kwargs["prompt_states"] = self.layer_norm1(prompt.to(hidden_states.dtype))
        if positions is None:
            return super().forward(hidden_states, attention_mask, **kwargs)
        is_causal = kwargs.get("is_causal", False)
        if is_causal and "flash" in (self.self_attn.config._attn_implementation or ""):
            # flash attention has no mask that would hide what follows a single query
            return tokens_at(positions, super().forward(hidden_states, attention_mask, **kwargs))
        kwargs |= {"key_states": self.layer_norm1(hidden_states), "is_causal": False}
        mask = pooled_attention_mask(attention_mask, positions, hidden_states.shape[1], is_causal)
        return super().forward(tokens_at(positions, hidden_states), mask, **kwargs)


def tokens_at(positions: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
    """Select the token of each sequence at `positions`, `(batch, 1, hidden_size)`."""
    return hidden_states.gather(1, positions.view(-1, 1, 1).expand(-1, 1, hidden_states.shape[2]))


def add_prompt_slots(model: nn.Module) -> None:
    """Add empty prompt slots to a plain CLIP, keeping its state-dict keys."""
    for module in model.modules():
        if type(module) is CLIPEncoderLayer:
            module.__class__ = PromptCLIPEncoderLayer
            module.self_attn.__class__ = PromptCLIPAttention
            module.prompt = PromptSlot(module.embed_dim).to(module.layer_norm1.weight)


__all__ = ["PromptCLIPEncoderLayer", "PromptSlot", "QuickGELU", "add_prompt_slots"]
