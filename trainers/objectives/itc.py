"""Image-text contrast (ITC, InfoNCE): CLIP's loss, arXiv 2103.00020, figure 3, and TBPS-CLIP's with soft targets.

The soft-target form is the "N-ITC" of TBPS-CLIP, arXiv 2308.10045.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from trainers.checks import check_number
from trainers.objectives.pairs import (
    check_pairs,
    check_temperature,
    row_distributions,
    same_id,
    similarities,
)


def itc_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    person_ids: Tensor | None = None,
    *,
    temperature: float | Tensor = 0.07,
    label_smoothing: float = 0.0,
    same_person_targets: bool = False,
) -> Tensor:
    """Cross entropy of each image over the batch's captions and of each caption over its images, averaged.

    With cosines c_ij, `L_i2t = -1/N sum_i sum_j q_ij log softmax_j(c_ij / temperature)`, L_t2i the same on the
    transposed cosines, and the loss is their mean. By default q is the identity, so that another caption of the same
    person counts as a *wrong* answer; with `same_person_targets` q spreads evenly over all pairs of the person.

    Args:
        image_embeds: `[N, D]`, unit length.
        text_embeds: `[N, D]`, unit length; row i is the caption of image i.
        person_ids: `[N]` integers; needed with `same_person_targets`, else unused.
        temperature: above 0; a number, or a scalar tensor if it is learned (`1 / logit_scale.exp()`). 0.07 is CLIP's
            first value.
        label_smoothing: share of q spread evenly over the whole batch, in [0, 1).
        same_person_targets: whether all pairs of one person are right answers.

    Returns:
        Scalar, in float32 or float64; log(N) where all embeddings are equal.

    Raises:
        ValueError: a shape, temperature or smoothing breaks its rule, or `person_ids` is missing where needed.
        TypeError: a tensor has the wrong kind of dtype, or a setting is no number.
    """
    check_pairs(image_embeds, text_embeds, person_ids)
    check_temperature(temperature)
    check_number("label_smoothing", label_smoothing, least=0, below=1)
    logits = similarities(image_embeds, text_embeds) / temperature
    targets = torch.arange(len(logits), device=logits.device)
    if same_person_targets:
        if person_ids is None:
            raise ValueError("person_ids is None: same_person_targets needs them; pass one integer for each pair.")
        targets = row_distributions(same_id(person_ids).to(logits.dtype))
    image_to_text = cross_entropy(logits, targets, label_smoothing=label_smoothing)
    text_to_image = cross_entropy(logits.T, targets, label_smoothing=label_smoothing)
    return (image_to_text + text_to_image) / 2
