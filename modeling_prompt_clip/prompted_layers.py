"""CLIP's encoder layer with fixed deep prompts in a slot.

A prompt of layer l acts only through the keys `W_k LN1(p)` and values `W_v LN1(p)` that the layer's tokens attend to.
Where prompts are replaced at every prompted layer and dropped after the last one, this is exactly concatenate-and-
replace (VPT-deep, arXiv 2203.12119; IVLP in MaPLe, arXiv 2210.03117) without the cost of carrying the prompts along.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import CLIPAttention, CLIPEncoderLayer, eager_attention_forward


class PromptSlot(nn.Module):
    """The fixed prompts of one encoder layer, a buffer `weight` of shape `(length, hidden_size)`.

    A buffer, because fixed prompts are never trained, whatever `requires_grad_` is called on; saved only where there
    are prompts, so that an empty slot adds no key to CLIP's state dict, yet follows the model's device and dtype.
    """

    def __init__(self, hidden_size: int, length: int = 0) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(length, hidden_size), persistent=length > 0)

    def set_prompts(self, weight: torch.Tensor) -> None:
        """Replace the fixed prompts by `weight`, of shape `(length, hidden_size)`; length 0 empties the slot."""
        self.register_buffer("weight", weight.detach().to(self.weight, copy=True), persistent=len(weight) > 0)

    def forward(self) -> torch.Tensor | None:
        """The prompts, shape `(length, hidden_size)`, or `None` where there are none."""
        return self.weight if len(self.weight) else None


def prefix_attention_mask(
    mask: torch.Tensor | None, length: int, tokens: int, is_causal: bool, implementation: str, device: torch.device
) -> torch.Tensor | None:
    """The attention mask with `length` columns on its left, the prompts, which every token sees.

    The mask is explicit wherever it is causal: transformers' sdpa cuts the keys back to the number of queries when it
    gets a causal flag, more keys than queries and no mask, which would silently drop the last tokens.

    Args:
        mask: `(batch or 1, 1, tokens, tokens)`, boolean for sdpa, additive for eager; `None` where the implementation
            needs none: for images, and under sdpa and flash for captions without padding.
        length: number of prompts.
        tokens: number of the layer's own tokens.
        is_causal: whether the tower is causal (text).
        implementation: the name of the attention implementation.
        device: where a mask is made.

    Raises:
        ValueError: a padding mask under flash attention, which cannot express it beside prompts.
    """
    if "flash" in implementation:
        if mask is not None:
            raise ValueError(
                "attention_mask was given with prompts under flash attention, which cannot combine the two; leave "
                "attention_mask out: captions are padded on the right and the pooled EOS never sees padding"
            )
        return None  # flash attention aligns the causal mask to the bottom right: a visible prefix needs no mask
    if mask is None:
        if not is_causal:
            return None
        mask = torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril()[None, None]
    return nn.functional.pad(mask, (length, 0), value=True if mask.dtype == torch.bool else 0.0)


class PromptCLIPAttention(CLIPAttention):
    """CLIP's attention whose tokens also attend to prompts."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        prompt_states: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As [`CLIPAttention`], beside layer-normed prompts.

        Args:
            hidden_states: `(batch, tokens, hidden_size)`, layer-normed.
            attention_mask: as the attention implementation wants it, without the prompts' columns.
            prompt_states: `(length, hidden_size)`, layer-normed; `None` is plain CLIP, bit for bit.

        Returns:
            `(batch, tokens, hidden_size)` and, where the implementation gives them, attention weights
            `(batch, heads, tokens, length + tokens)`.
        """
        if prompt_states is None:
            return super().forward(hidden_states, attention_mask, **kwargs)
        batch, tokens, _ = hidden_states.shape
        queries = self._heads(self.q_proj(hidden_states))
        keys = self._after_prompts(self.k_proj, prompt_states, hidden_states)
        values = self._after_prompts(self.v_proj, prompt_states, hidden_states)
        implementation = self.config._attn_implementation or "eager"
        mask = prefix_attention_mask(
            attention_mask, len(prompt_states), tokens, kwargs.get("is_causal", False), implementation, queries.device
        )
        attention: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)
        dropout = self.dropout if self.training else 0.0
        output, weights = attention(self, queries, keys, values, mask, scaling=self.scale, dropout=dropout, **kwargs)
        return self.out_proj(output.reshape(batch, tokens, -1)), weights

    def _after_prompts(self, project: nn.Linear, prompts: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Projections of the prompts, then of the tokens, `(batch, heads, length + tokens, head_dim)`."""
        own = self._heads(project(tokens))
        return torch.cat([self._heads(project(prompts)[None]).expand(own.shape[0], -1, -1, -1), own], dim=2)

    def _heads(self, states: torch.Tensor) -> torch.Tensor:
        """`(batch, tokens, hidden_size)` -> `(batch, heads, tokens, head_dim)`."""
        return states.view(*states.shape[:2], -1, self.head_dim).transpose(1, 2)


class PromptCLIPEncoderLayer(CLIPEncoderLayer):
    """CLIP's encoder layer with a [`PromptSlot`]."""

    def __init__(self, config: Any, prompt_length: int = 0) -> None:
        super().__init__(config)
        self.self_attn = PromptCLIPAttention(config)
        self.prompt = PromptSlot(config.hidden_size, prompt_length)

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        """`(batch, tokens, hidden_size)` -> the same shape; the prompts pass through the layer's first norm."""
        prompt = self.prompt()
        if prompt is not None:
            kwargs["prompt_states"] = self.layer_norm1(prompt.to(hidden_states.dtype))
        return super().forward(hidden_states, attention_mask, **kwargs)


def add_prompt_slots(model: nn.Module) -> None:
    """Give every layer of a plain CLIP an empty prompt slot, in place; no key of its state dict changes."""
    for module in model.modules():
        if type(module) is CLIPEncoderLayer:
            module.__class__ = PromptCLIPEncoderLayer
            module.self_attn.__class__ = PromptCLIPAttention
            module.prompt = PromptSlot(module.embed_dim).to(module.layer_norm1.weight)


__all__ = ["PromptCLIPAttention", "PromptCLIPEncoderLayer", "PromptSlot", "add_prompt_slots", "prefix_attention_mask"]
