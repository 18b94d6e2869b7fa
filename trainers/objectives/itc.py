"""Image-text contrast (ITC, InfoNCE) of CLIP, arXiv 2103.00020, figure 3.

With soft targets it is the "N-ITC" of TBPS-CLIP, arXiv 2308.10045.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dataset_scripts.common.numbers import check_number
from trainers.objectives.pairs import (
    check_pairs,
    check_temperature,
    match_weights,
    row_distributions,
    similarities,
)


def itc_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    person_ids: Tensor | None = None,
    *,
    temperature: float | Tensor = 0.07,
    label_smoothing: float = 0.0,
    image_ids: Tensor | None = None,
    same_image_weight: float = 0.0,
    same_person_weight: float = 0.0,
) -> Tensor:
    """Cross entropy of each image over the batch's captions and of each caption over its images, averaged.

    With cosines c_ij, `L_i2t = -1/N sum_i sum_j q_ij log softmax_j(c_ij / temperature)`, L_t2i the same on the
    transposed cosines, and the loss is their mean. `q_ij = w_ij / sum_k w_ik`, where w_ij is 1 for a pair with itself,
    `same_image_weight` for two captions of one image, `same_person_weight` for two images of one person, else 0. By
    default q is the identity, so that another caption of the same image counts as a *wrong* answer; TBPS-CLIP's N-ITC
    has both weights at 1. Its further soft label, a share `a` of the model's own softmax in q, held constant, is no
    option: without smoothing its gradient is exactly `1 - a` times the one here.

    Args:
        image_embeds: `[N, D]`, unit length.
        text_embeds: `[N, D]`, unit length; row i is the caption of image i.
        person_ids: `[N]` integers; needed where a weight is above 0, else unused.
        temperature: above 0; a number, or a scalar tensor if it is learned (`1 / logit_scale.exp()`). 0.07 is CLIP's
            first value.
        label_smoothing: share of q spread evenly over the whole batch, in [0, 1).
        image_ids: `[N]` integers, unique over all persons; needed where the two weights differ.
        same_image_weight: at least 0.
        same_person_weight: at least 0.

    Returns:
        Scalar, in float32 or float64; log(N) where all embeddings are equal.

    Raises:
        ValueError: a shape, weight, temperature or smoothing breaks its rule, or ids are missing where needed.
        TypeError: a tensor has the wrong kind of dtype, or a setting is no number.
    """
    check_pairs(image_embeds, text_embeds, person_ids)
    check_temperature(temperature)
    check_number("label_smoothing", label_smoothing, least=0, below=1)
    check_number("same_image_weight", same_image_weight, least=0)
    check_number("same_person_weight", same_person_weight, least=0)
    logits = similarities(image_embeds, text_embeds) / temperature
    targets = torch.arange(len(logits), device=logits.device)
    if same_image_weight or same_person_weight:
        if person_ids is None:
            raise ValueError(
                f"person_ids is None: same_image_weight {same_image_weight} and same_person_weight "
                f"{same_person_weight} need them; pass one integer for each pair."
            )
        weights = match_weights(person_ids, image_ids, same_image_weight, same_person_weight, logits.dtype)
        # The weights are symmetric, so one q serves both directions.
        targets = row_distributions(weights.fill_diagonal_(1))
    image_to_text = cross_entropy(logits, targets, label_smoothing=label_smoothing)
    text_to_image = cross_entropy(logits.T, targets, label_smoothing=label_smoothing)
    return (image_to_text + text_to_image) / 2
