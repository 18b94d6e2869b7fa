"""Triplet alignment loss (TAL) of RDE, arXiv 2308.09911."""

import torch
from torch import Tensor

from dataset_scripts.common.numbers import check_number
from trainers.objectives.pairs import check_pairs, check_temperature, same_id, similarities


def tal_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    person_ids: Tensor,
    *,
    temperature: float | Tensor = 0.015,
    margin: float = 0.1,
) -> Tensor:
    """Hinge between the weighted cosine of a row's positives and a log-sum-exp bound of its hardest negative.

    With cosines c_ij, `a_i = softmax over positives of c_i / temperature` (held constant in the backward pass),

        L_i2t = 1/N sum_i [margin - sum_pos a_ij c_ij + temperature * log sum_neg exp(c_ij / temperature)]_+ ,

    L_t2i the same on the transposed cosines, and the loss is their sum. Positives are all pairs of one person. The
    paper's code sums over the batch; the mean used here keeps the learning rate independent of the batch size (its
    64 pairs at a rate r are ours at 64 r under plain SGD, and at about r under Adam). A row without negatives costs 0.

    Args:
        image_embeds: `[N, D]`, unit length.
        text_embeds: `[N, D]`, unit length; row i is the caption of image i.
        person_ids: `[N]` integers.
        temperature: above 0; a number or a scalar tensor. 0.015 is RDE's; it reports failure at much smaller values.
        margin: how far positives must stay above negatives, in [0, 2] (cosines differ by 2 at most); 0.1 is RDE's.

    Returns:
        Scalar, in float32 or float64.

    Raises:
        ValueError: a shape, temperature or margin breaks its rule.
        TypeError: a tensor has the wrong kind of dtype, or a setting is no number.
    """
    check_pairs(image_embeds, text_embeds, person_ids)
    check_temperature(temperature)
    check_number("margin", margin, least=0, most=2)
    cosines = similarities(image_embeds, text_embeds)
    positives = same_id(person_ids)
    return _hinge(cosines, positives, temperature, margin) + _hinge(cosines.T, positives, temperature, margin)


def _hinge(cosines: Tensor, positives: Tensor, temperature: float | Tensor, margin: float) -> Tensor:
    """Mean over rows of RDE's hinge; `positives` is boolean, true on the diagonal."""
    logits = cosines / temperature
    weights = logits.detach().masked_fill(~positives, -torch.inf).softmax(dim=1)
    positive = (weights * cosines).sum(dim=1)
    # The lowest finite number, not -inf: a row without negatives would otherwise have NaN gradients.
    lowest = torch.finfo(logits.dtype).min
    negative = temperature * logits.masked_fill(positives, lowest).logsumexp(dim=1)
    return (margin - positive + negative).clamp(min=0).mean()
