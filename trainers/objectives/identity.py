"""Identity classification (ID) of IRRA, arXiv 2303.12501, after Dual-Path, arXiv 1711.05535."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from dataset_scripts.common.numbers import check_integer, check_number
from trainers.objectives.pairs import check_ids, loss_dtype


class IdentityHead(nn.Module):
    """Linear classifier of training identities, shared by images and captions.

    It multiplies embeddings by sqrt(D). Entries of unit vectors shrink as 1/sqrt(D), so logits would need large
    weights, and a step would move them less the wider the model. With the factor, entries have mean square 1 at any
    width, which suits usual learning rates; IRRA's head sees unnormalised features.

    Args:
        embedding_dim: D, at least 1.
        num_identities: number of training identities K, at least 1.

    Raises:
        ValueError: a number is below 1.
        TypeError: a number is no integer.
    """

    def __init__(self, embedding_dim: int, num_identities: int):
        check_integer("embedding_dim", embedding_dim, least=1)
        check_integer("num_identities", num_identities, least=1)
        super().__init__()
        self.scale = math.sqrt(embedding_dim)
        self.classifier = nn.Linear(embedding_dim, num_identities)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, embeds: Tensor) -> Tensor:
        """Return logits `[N, K]`, float32 or float64, of unit embeddings `[N, D]`."""
        dtype = loss_dtype(embeds, self.classifier.weight)
        with torch.autocast(embeds.device.type, enabled=False):
            weight, bias = self.classifier.weight.to(dtype), self.classifier.bias.to(dtype)
            return linear(self.scale * embeds.to(dtype), weight, bias)


def id_loss(image_logits: Tensor, text_logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy of images and captions over the training identities.

    Args:
        image_logits, text_logits: `[N, K]`.
        labels: `[N]` integers in [0, K): the rank of the person among the sorted training ids, not `person_id`.
        label_smoothing: share of the target spread over all identities, in [0, 1); IRRA uses 0.

    Returns:
        Scalar, float32 or float64; log(K) if all logits are equal.

    Raises:
        ValueError: a shape or the smoothing breaks its rule.
        TypeError: labels are not integers, or the smoothing is no number.
    """
    if image_logits.ndim != 2 or image_logits.shape != text_logits.shape:
        raise ValueError(
            f"image_logits has shape {tuple(image_logits.shape)} and text_logits {tuple(text_logits.shape)}: both "
            "must be [pairs, identities]."
        )
    check_ids("labels", labels, len(image_logits))
    check_number("label_smoothing", label_smoothing, least=0, below=1)
    dtype = loss_dtype(image_logits, text_logits)
    image_loss = cross_entropy(image_logits.to(dtype), labels.long(), label_smoothing=label_smoothing)
    text_loss = cross_entropy(text_logits.to(dtype), labels.long(), label_smoothing=label_smoothing)
    return (image_loss + text_loss) / 2
