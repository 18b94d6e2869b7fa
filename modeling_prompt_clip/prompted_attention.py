"""CLIP's attention with prompts as extra keys and values."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import CLIPAttention, eager_attention_forward


def prefix_attention_mask(
    mask: torch.Tensor | None, length: int, tokens: int, is_causal: bool, implementation: str, device: torch.device
) -> torch.Tensor | None:
    """Add `length` columns on the left for prompts, which every token sees.

    The mask is explicit wherever it is causal: given a causal flag, more keys than queries and no mask, transformers'
    sdpa cuts the keys back to the number of queries, silently dropping the last tokens.

    Args:
        mask: `(batch or 1, 1, queries, tokens)`, boolean for sdpa, additive for eager; None for images, and under sdpa
            and flash for captions without padding.
        is_causal: whether the tower is causal (text) and every token a query.

    Raises ValueError: a padding mask under flash attention, which cannot express it with prompts.
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


def pooled_attention_mask(
    mask: torch.Tensor | None, positions: torch.Tensor, tokens: int, is_causal: bool
) -> torch.Tensor | None:
    """Select mask rows of one token per sequence, `(batch, 1, 1, tokens)`.

    `positions` `(batch,)` are those tokens. Without a mask `(batch or 1, 1, tokens, tokens)`, only later tokens are
    hidden, if causal.
    """
    if mask is not None:
        batch = positions.shape[0]  # len() would fix it in an exported graph
        return mask.expand(batch, -1, -1, -1).gather(2, positions.view(-1, 1, 1, 1).expand(-1, 1, 1, tokens))
    return (torch.arange(tokens, device=positions.device) <= positions.view(-1, 1, 1, 1)) if is_causal else None


def plain_attention(
    module: nn.Module,
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    is_causal: bool = False,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention written out, with the signature and result of `sdpa_attention_forward`.

    `attention_mask` is boolean, true where attended to; without one, `is_causal` hides the keys that follow the query.
    """
    scores = (queries * scaling) @ keys.transpose(2, 3)
    if attention_mask is None and is_causal:
        attention_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    weights = nn.functional.dropout(scores.softmax(dim=-1), dropout)
    return (weights @ values).transpose(1, 2).contiguous(), None


def attention_function(implementation: str, queries: torch.Tensor, training: bool) -> Callable:
    """The configured attention, or plain products for half-precision training on a CPU.

    There torch's sdpa has a slower backward pass than products that use AMX or AVX512-BF16: docs/performance.md.
    """
    in_half = queries.dtype in (torch.bfloat16, torch.float16)
    if implementation == "sdpa" and in_half and queries.device.type == "cpu" and training:
        return plain_attention
    return ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)


class PromptCLIPAttention(CLIPAttention):
    """CLIP's attention whose tokens also attend to prompts."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        prompt_states: torch.Tensor | None = None,
        key_states: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As [`CLIPAttention`], with layer-normed prompts.

        Args:
            hidden_states: `(batch, queries, hidden_size)`, layer-normed.
            attention_mask: as the attention implementation wants it, without the prompts' columns.
            prompt_states: `(length, hidden_size)`, layer-normed; None is plain CLIP, bit for bit.
            key_states: `(batch, tokens, hidden_size)`, layer-normed; by default `hidden_states`.

        Returns: `(batch, queries, hidden_size)` and attention weights `(batch, heads, queries, length + tokens)` or
        None.
        """
        key_states = hidden_states if key_states is None else key_states
        queries = self._heads(self.q_proj(hidden_states))
        keys, values = self._heads(self.k_proj(key_states)), self._heads(self.v_proj(key_states))
        implementation = self.config._attn_implementation or "eager"
        if prompt_states is not None:
            is_causal = kwargs.get("is_causal", False)
            attention_mask = prefix_attention_mask(
                attention_mask, len(prompt_states), keys.shape[2], is_causal, implementation, queries.device
            )
            keys = self._after_prompts(self.k_proj(prompt_states), keys)
            values = self._after_prompts(self.v_proj(prompt_states), values)
        attention = attention_function(implementation, queries, self.training)
        dropout = self.dropout if self.training else 0.0
        output, weights = attention(
            self, queries, keys, values, attention_mask, scaling=self.scale, dropout=dropout, **kwargs
        )
        return self.out_proj(output.reshape(*hidden_states.shape[:2], -1)), weights

    def _after_prompts(self, prompts: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """Project prompts, then tokens, `(batch, heads, length + tokens, head_dim)`."""
        return torch.cat([self._heads(prompts[None]).expand(own.shape[0], -1, -1, -1), own], dim=2)

    def _heads(self, states: torch.Tensor) -> torch.Tensor:
        """`(batch, tokens, hidden_size)` -> `(batch, heads, tokens, head_dim)`."""
        return states.view(*states.shape[:2], -1, self.head_dim).transpose(1, 2)


__all__ = ["PromptCLIPAttention", "plain_attention", "pooled_attention_mask", "prefix_attention_mask"]
