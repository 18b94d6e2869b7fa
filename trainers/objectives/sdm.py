"""Similarity distribution matching (SDM) of IRRA, arXiv 2303.12501, as in its released code."""

from torch import Tensor

from dataset_scripts.common.numbers import check_number
from trainers.objectives.pairs import (
    check_pairs,
    check_temperature,
    match_weights,
    row_distributions,
    similarities,
)


def sdm_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    person_ids: Tensor,
    *,
    temperature: float | Tensor = 0.02,
    image_ids: Tensor | None = None,
    same_image_weight: float = 1.0,
    same_person_weight: float = 1.0,
    eps: float = 1e-8,
) -> Tensor:
    """KL divergence of the similarity distribution p from the distribution q of true matches, both directions summed.

    With cosines c_ij, `p_i = softmax_j(c_ij / temperature)` and `q_ij = w_ij / sum_k w_ik`,

        L_i2t = 1/N sum_i sum_j p_ij (log p_ij - log(q_ij + eps)),    L = L_i2t + L_t2i,

    where L_t2i is the same on the transposed cosines. w_ij is 1 for two pairs of one person, else 0. Given
    `image_ids`, it is `same_image_weight` for two captions of one image and `same_person_weight` for two images of
    one person. IRRA's code divides w by the sums of its *columns*, which is the same for 0/1 weights only; here every
    row of q sums to 1 for any weights.

    Args:
        image_embeds: `[N, D]`, unit length.
        text_embeds: `[N, D]`, unit length; row i is the caption of image i.
        person_ids: `[N]` integers.
        temperature: above 0; a number, or a scalar tensor if it is learned. 0.02 is IRRA's.
        image_ids: `[N]` integers, unique over all persons; needed where the two weights differ.
        same_image_weight: above 0. Only its ratio to `same_person_weight` matters.
        same_person_weight: at least 0.
        eps: above 0; bounds the cost of probability on a wrong match at -log(eps).

    Returns:
        Scalar, in float32 or float64.

    Raises:
        ValueError: a shape, weight, temperature or eps breaks its rule, or weights differ without `image_ids`.
        TypeError: a tensor has the wrong kind of dtype, or a setting is no number.
    """
    check_pairs(image_embeds, text_embeds, person_ids)
    check_temperature(temperature)
    check_number("same_image_weight", same_image_weight, above=0)
    check_number("same_person_weight", same_person_weight, least=0)
    check_number("eps", eps, above=0)
    logits = similarities(image_embeds, text_embeds) / temperature
    weights = match_weights(person_ids, image_ids, same_image_weight, same_person_weight, logits.dtype)
    # The weights are symmetric, so one q serves both directions.
    log_targets = (row_distributions(weights) + eps).log()
    return _divergence(logits, log_targets) + _divergence(logits.T, log_targets)


def _divergence(logits: Tensor, log_targets: Tensor) -> Tensor:
    """Mean over rows of KL(softmax(logits) || targets), both `[N, N]`."""
    log_probabilities = logits.log_softmax(dim=1)
    return (log_probabilities.exp() * (log_probabilities - log_targets)).sum(dim=1).mean()
