"""Masked-language modelling (MLM) with the image at hand: implicit relation reasoning of IRRA, arXiv 2303.12501."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dataset_scripts.common.numbers import check_integer
from trainers.objectives.pairs import loss_dtype

IGNORED = -100


class MaskedWordHead(nn.Module):
    """Guesses the masked words of a caption from its own tokens and from those of its image.

    IRRA's module: the caption's tokens ask, the image's tokens answer (cross attention, and as there no way around
    it), some transformer layers let the answers speak to each other, and a two-layer head predicts the word. Heads of
    attention are 64 wide as in CLIP, or wider where 64 does not fit. Two differences: padding is masked, so that a
    caption's result does not hang on the longest one beside it, and only the masked positions meet the vocabulary,
    which changes no result and saves most of the cost.

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
        """Scores of all words at the masked positions.

        Args:
            text_tokens: `[B, T, D]`, projected token features of the masked captions.
            image_tokens: `[B, S, D]`, projected token features of their images.
            padding: `[B, T]` boolean, true where a caption is over; its first token is never padding.
            positions: `[B, M]` integers in [0, T): where the masked words stand, filled up with any position.

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
        labels: `[...]` integers in [0, V): the true words, or `IGNORED` where there is none.
        count: scalar, number of words that the mean is over, where these are a share of a larger batch; the number
            of labels when left out.

    Returns:
        Scalar, in float32 or float64; log(V) where all logits are equal, and 0 with gradients of 0 where there is no
        masked word: every parameter still gets a gradient, which processes that train together wait for.

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
