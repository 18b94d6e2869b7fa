"""What every objective needs from a batch of image-caption pairs: checks, similarities, target distributions.

Objectives compute in float32 (float64 where an embedding is float64) whatever the model's precision or an active
autocast, because a similarity divided by a temperature of 0.02 loses three bits more than bfloat16 has to spare.
"""

import torch
from torch import Tensor

from dataset_scripts.common.numbers import check_number


def check_pairs(image_embeds: Tensor, text_embeds: Tensor, person_ids: Tensor | None = None) -> None:
    """Refuse a batch whose tensors do not describe the same N pairs.

    Args:
        image_embeds: `[N, D]`, floating point.
        text_embeds: `[N, D]`, floating point; row i is the caption of image i.
        person_ids: `[N]`, integers, or None where the objective does not use them.

    Raises:
        ValueError: a shape does not fit, or the batch is empty.
        TypeError: embeddings that are not floating point, or ids that are not integers.
    """
    for name, embeds in (("image_embeds", image_embeds), ("text_embeds", text_embeds)):
        if not embeds.is_floating_point():
            raise TypeError(f"{name} has dtype {embeds.dtype}: embeddings must be floating point.")
        if embeds.ndim != 2 or len(embeds) == 0:
            raise ValueError(
                f"{name} has shape {tuple(embeds.shape)}: it must be [pairs, dim] with at least one pair."
            )
    if image_embeds.shape != text_embeds.shape:
        raise ValueError(
            f"image_embeds has shape {tuple(image_embeds.shape)} and text_embeds {tuple(text_embeds.shape)}: row i of "
            "both must describe pair i in one space; repeat an image's embedding for each of its captions."
        )
    if person_ids is not None:
        check_ids("person_ids", person_ids, len(image_embeds))


def check_ids(name: str, ids: Tensor, pairs: int) -> None:
    """Check that ids are one integer a pair.

    Raises:
        TypeError: `ids` are not integers.
        ValueError: `ids` is not of shape `[pairs]`.
    """
    if ids.dtype == torch.bool or ids.is_floating_point() or ids.is_complex():
        raise TypeError(f"{name} has dtype {ids.dtype}: ids must be integers, such as torch.int64.")
    if ids.shape != (pairs,):
        raise ValueError(f"{name} has shape {tuple(ids.shape)}: it must be [{pairs}], one id for each pair.")


def check_temperature(temperature: float | Tensor) -> None:
    """Check that a temperature is a finite number above 0 or a scalar tensor.

    A tensor's value is not read: a GPU would wait at every step.

    Raises:
        ValueError: the rule is broken.
        TypeError: `temperature` is neither a number nor a tensor.
    """
    if not isinstance(temperature, Tensor):
        check_number("temperature", temperature, above=0)
    elif temperature.ndim != 0:
        shape = tuple(temperature.shape)
        raise ValueError(f"temperature is a tensor of shape {shape}: it must be a scalar, of shape ().")


def loss_dtype(*tensors: Tensor) -> torch.dtype:
    """Precision of a loss: float64 if any tensor has it, else float32."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def similarities(image_embeds: Tensor, text_embeds: Tensor) -> Tensor:
    """Return the cosines of all pairs, `[N, N]`, entry (i, j) between image i and caption j.

    Args:
        image_embeds, text_embeds: `[N, D]`, unit length.
    """
    dtype = loss_dtype(image_embeds, text_embeds)
    # Matrix products are what autocast lowers; all that follows keeps the precision it is handed.
    with torch.autocast(image_embeds.device.type, enabled=False):
        return image_embeds.to(dtype) @ text_embeds.to(dtype).T


def same_id(ids: Tensor) -> Tensor:
    """Compare `[N]` ids: boolean `[N, N]`, symmetric, true on the diagonal."""
    return ids[:, None] == ids[None, :]


def row_distributions(weights: Tensor) -> Tensor:
    """Normalise the rows of non-negative `[N, N]` weights; each needs a positive weight."""
    return weights / weights.sum(dim=1, keepdim=True)


def match_weights(
    person_ids: Tensor,
    image_ids: Tensor | None,
    same_image_weight: float,
    same_person_weight: float,
    dtype: torch.dtype,
) -> Tensor:
    """Weight each two pairs of a batch as a match, `[N, N]`, symmetric.

    Args:
        person_ids: `[N]` integers.
        image_ids: `[N]` integers, unique over all persons; needed if the two weights differ.
        same_image_weight: of two captions of one image, and of a pair with itself.
        same_person_weight: of two images of one person.
        dtype: of the result.

    Raises:
        ValueError: `image_ids` does not fit, or is missing although the weights differ.
        TypeError: `image_ids` are not integers.
    """
    same_person = same_id(person_ids)
    if image_ids is None:
        if same_image_weight != same_person_weight:
            raise ValueError(
                f"same_image_weight is {same_image_weight} and same_person_weight {same_person_weight}: different "
                "weights need image_ids, to tell one image from another of the same person."
            )
        return same_person_weight * same_person.to(dtype)
    check_ids("image_ids", image_ids, len(person_ids))
    same_image = same_id(image_ids)
    other_image = same_person & ~same_image
    return same_image_weight * same_image.to(dtype) + same_person_weight * other_image.to(dtype)
