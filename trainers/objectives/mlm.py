"""Masked-language modelling (MLM) with the image: implicit relation reasoning of IRRA, arXiv 2303.12501."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dataset_scripts.common.numbers import check_integer
from trainers.objectives.pairs import loss_dtype

IGNORED = -100


class MaskedWordHead(nn.Module):
    """Predict the masked words of a caption from its tokens and its image's.

    IRRA's module: caption tokens attend to image tokens (cross attention without a residual, as in IRRA), transformer
    layers mix the results, and a two-layer head predicts the word. Attention heads are 64 wide like CLIP's, or wider
    where 64 does not fit. Two differences from IRRA: padding is masked, so a caption's result does not depend on
    longer captions beside it, and only masked positions meet the vocabulary, which changes no result and saves most of
    the cost.

    Args:
        embedding_dim: width D of the projected tokens, at least 1.
        vocab_size: number of words V, at least 1.
        layers: transformer layers, at least 0; IRRA uses 4.

    Raises:
        ValueError: a number is too small.
        TypeError: a number is no integer.
    """

    def __init__(self, embedding_dim: int, vocab_size: int, *, layers: int = 4):
        check_integer("embedding_dim", embedding_dim, least=1)
        check_integer("vocab_size", vocab_size, least=1)
        check_integer("layers", layers, least=0)
        super().__init__()
        heads = next(number for number in range(max(1, embedding_dim // 64), 0, -1) if embedding_dim % number == 0)
        self.text_norm = nn.LayerNorm(embedding_dim)
        self.image_norm = nn.LayerNorm(embedding_dim)
        self.cross_attention = nn.MultiheadAttention(embedding_dim, heads, batch_first=True)
        options: dict[str, Any] = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        # Not nn.TransformerEncoder: it copies one layer, so that all would start from the same weights.
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(embedding_dim, heads, 4 * embedding_dim, **options) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(embedding_dim)
        self.transform = nn.Sequential(nn.Linear(embedding_dim, embedding_dim), nn.GELU(), nn.LayerNorm(embedding_dim))
        self.classifier = nn.Linear(embedding_dim, vocab_size)

    def forward(self, text_tokens: Tensor, image_tokens: Tensor, padding: Tensor, positions: Tensor) -> Tensor:
        """Score all words at the masked positions.

        Args:
            text_tokens: `[B, T, D]`, projected token features of the masked captions.
            image_tokens: `[B, S, D]`, projected token features of their images.
            padding: `[B, T]` boolean, true after the caption's end, never for its first token.
            positions: `[B, M]` integers in [0, T) of masked words, padded with any position.

        Returns:
            `[B, M, V]`.
        """
        dtype = self.norm.weight.dtype
        queries, images = self.text_norm(text_tokens.to(dtype)), self.image_norm(image_tokens.to(dtype))
        states = self.cross_attention(queries, images, images, need_weights=False)[0]
        for layer in self.layers:
            states = layer(states, src_key_padding_mask=padding)
        states = states.gather(1, positions[..., None].expand(-1, -1, states.shape[-1]))
        return self.classifier(self.transform(self.norm(states)))


def mlm_loss(logits: Tensor, labels: Tensor, *, count: Tensor | None = None) -> Tensor:
    """Mean cross entropy of the masked words.

    Args:
        logits: `[..., V]`.
        labels: `[...]` integers in [0, V): the true words, or `IGNORED`.
        count: scalar, number of words of the larger batch that these are part of; by default the number of labels.

    Returns:
        Scalar, float32 or float64; log(V) if all logits are equal, and without masked words 0 with gradients of 0,
            because processes that train together wait for every gradient.

    Raises:
        ValueError: the shapes do not fit.
        TypeError: labels are not integers.
    """
    if labels.dtype == torch.bool or labels.is_floating_point():
        raise TypeError(f"labels has dtype {labels.dtype}: ids must be integers, such as torch.int64.")
    if logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"logits has shape {tuple(logits.shape)} and labels {tuple(labels.shape)}: one row of logits for each "
            "label is needed."
        )
    scores = logits.to(loss_dtype(logits)).reshape(-1, logits.shape[-1])
    total = cross_entropy(scores, labels.reshape(-1).long(), ignore_index=IGNORED, reduction="sum")
    if count is None:
        count = (labels != IGNORED).sum()
    return total / count.clamp(min=1)
