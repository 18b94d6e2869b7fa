"""Cyclic image-text contrast (C-ITC) of TBPS-CLIP, arXiv 2308.10045, after CyCLIP, 2205.14459."""

from torch import Tensor

from dataset_scripts.common.numbers import check_number
from trainers.objectives.pairs import check_pairs, similarities


def citc_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    person_ids: Tensor | None = None,
    *,
    in_modal_weight: float = 0.25,
    cross_modal_weight: float = 0.25,
) -> Tensor:
    """How far the geometry of images is from that of captions, and the cosines of the batch from symmetry.

    With images v_i, captions t_i and dots for cosines,

        L = in_modal_weight    * mean_ij (v_i . v_j - t_i . t_j)^2
          + cross_modal_weight * mean_ij (v_i . t_j - v_j . t_i)^2 .

    The papers scale the cosines by 1 / temperature and divide the loss by its square: the temperature cancels, and
    there is none here. CyCLIP multiplies by N besides; TBPS-CLIP does not, and weighs the sum by 0.1 beside its ITC.

    Args:
        image_embeds: `[N, D]`, unit length.
        text_embeds: `[N, D]`, unit length; row i is the caption of image i.
        person_ids: `[N]` integers; unused, every objective of embeddings is called alike.
        in_modal_weight: at least 0; 0.25 is TBPS-CLIP's.
        cross_modal_weight: at least 0; 0.25 is TBPS-CLIP's.

    Returns:
        Scalar, in float32 or float64, at least 0; 0 where each image equals its caption.

    Raises:
        ValueError: a shape or weight breaks its rule.
        TypeError: a tensor has the wrong kind of dtype, or a weight is no number.
    """
    check_pairs(image_embeds, text_embeds, person_ids)
    check_number("in_modal_weight", in_modal_weight, least=0)
    check_number("cross_modal_weight", cross_modal_weight, least=0)
    images, texts = similarities(image_embeds, image_embeds), similarities(text_embeds, text_embeds)
    across = similarities(image_embeds, text_embeds)
    in_modal = (images - texts).square().mean()
    cross_modal = (across - across.T).square().mean()
    return in_modal_weight * in_modal + cross_modal_weight * cross_modal
