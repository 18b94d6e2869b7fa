"""The user's own loss, named in settings as MODULE:FUNCTION."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dataset_scripts.common.own_code import import_function
from trainers.objectives.pairs import loss_dtype

Loss = Callable[..., Tensor]

SIGNATURE = "(image_embeds, text_embeds, person_ids, **context) -> scalar tensor"


def own_loss(setting: str, name: str) -> Loss:
    """Import a loss and call it once on eight pairs of random unit embeddings.

    The function is called as `loss(image_embeds, text_embeds, person_ids, image_ids=..., labels=...)`: float32 `[N,
    D]` embeddings of unit length and `[N]` integers of the pairs of all processes. Row i of both embeddings is a pair;
    `labels` number the persons from 0.

    Raises ValueError: it cannot be imported, fails, or returns no finite scalar with a gradient.
    """
    loss = import_function(setting, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        embeds = [normalize(torch.randn(8, 16), dim=1).requires_grad_() for _ in range(2)]
        persons = torch.arange(8) // 2
        try:
            value = call_own_loss(loss, embeds[0], embeds[1], persons, image_ids=torch.arange(8), labels=persons)
        except Exception as error:  # a function of the user's may raise anything
            raise ValueError(
                f"{setting} names {name!r}, which fails on 8 pairs of 16 numbers ({type(error).__name__}: {error}); "
                f"its signature must be {SIGNATURE}"
            ) from error
    if problem := _problem(value, embeds):
        raise ValueError(f"{setting} names {name!r}, which {problem}; its signature must be {SIGNATURE}")
    return loss


def call_own_loss(
    loss: Loss, image_embeds: Tensor, text_embeds: Tensor, person_ids: Tensor, **context: Tensor | None
) -> Tensor:
    """Call a loss in full precision, like ours, whatever the model's precision."""
    dtype = loss_dtype(image_embeds, text_embeds)
    with torch.autocast(image_embeds.device.type, enabled=False):
        return loss(image_embeds.to(dtype), text_embeds.to(dtype), person_ids, **context)


def _problem(value: object, embeds: list[Tensor]) -> str:
    """Describe the fault of a loss's value; "" if valid."""
    if not isinstance(value, Tensor) or value.ndim != 0:
        shape = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r}"
        return f"returns {shape} instead of a scalar tensor"
    if not value.isfinite():
        return f"returns {value.item()} for random embeddings"
    gradients = torch.autograd.grad(value, embeds, allow_unused=True) if value.requires_grad else (None,)
    found = [gradient for gradient in gradients if gradient is not None]
    if not found:
        return "has no gradient: it must not detach the embeddings"
    return "" if all(gradient.isfinite().all() for gradient in found) else "has a gradient that is not finite"


__all__ = ["call_own_loss", "own_loss"]
