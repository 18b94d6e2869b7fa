"""A weighted sum of objectives, chosen by name: what one stage of training minimises."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from trainers.checks import check_number
from trainers.objectives.identity import IdentityHead, id_loss
from trainers.objectives.itc import itc_loss
from trainers.objectives.sdm import sdm_loss
from trainers.objectives.tal import tal_loss

_LOSSES: dict[str, Callable[..., Tensor]] = {"sdm": sdm_loss, "itc": itc_loss, "tal": tal_loss, "id": id_loss}
OBJECTIVES: tuple[str, ...] = tuple(_LOSSES)


class CombinedObjective(nn.Module):
    """Sum of named objectives times their weights; holds the identity classifier where `id` is used.

    Args:
        weights: objective name (one of `OBJECTIVES`) to weight: a finite number, 0 or more, at least one above 0.
            An objective of weight 0 is neither computed nor given a head.
        options: objective name to the keyword options of its loss, such as `{"sdm": {"temperature": 0.02}}`. One
            table may serve two stages: options of an objective that this one does not use change nothing.
        embedding_dim: width D of the embeddings; needed for `id`.
        num_identities: number of training identities; needed for `id`.

    Raises:
        ValueError: an unknown name or option (the nearest is suggested), a value that breaks its rule, no weight
            above 0, or a number missing for `id`.
        TypeError: a weight or an option is not a number.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        options: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        embedding_dim: int | None = None,
        num_identities: int | None = None,
    ):
        super().__init__()
        self.weights = _checked_weights(weights)
        self.options = _checked_options(options or {})
        self.identity_head = None
        if "id" in self.weights:
            if embedding_dim is None or num_identities is None:
                raise ValueError(
                    f"embedding_dim is {embedding_dim} and num_identities {num_identities}: the objective 'id' trains "
                    "a classifier and needs both; pass them, or leave 'id' out."
                )
            self.identity_head = IdentityHead(embedding_dim, num_identities)
        self._try_out()

    def forward(
        self,
        image_embeds: Tensor,
        text_embeds: Tensor,
        person_ids: Tensor,
        labels: Tensor | None = None,
        image_ids: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of the objectives over a batch of pairs.

        Args:
            image_embeds: `[N, D]`, unit length.
            text_embeds: `[N, D]`, unit length; row i is the caption of image i.
            person_ids: `[N]` integers.
            labels: `[N]` integers in [0, num_identities); needed for `id`.
            image_ids: `[N]` integers; needed for `sdm` with unequal weights.

        Returns:
            The total, a scalar, and each objective's own value before weighting, detached, by name.

        Raises:
            ValueError, TypeError: what the objectives raise; `labels` missing for `id`.
        """
        terms = {}
        for name in self.weights:
            terms[name] = self._term(name, image_embeds, text_embeds, person_ids, labels, image_ids)
        total = torch.stack([weight * terms[name] for name, weight in self.weights.items()]).sum()
        return total, {name: term.detach() for name, term in terms.items()}

    def _term(
        self,
        name: str,
        image_embeds: Tensor,
        text_embeds: Tensor,
        person_ids: Tensor,
        labels: Tensor | None,
        image_ids: Tensor | None,
    ) -> Tensor:
        """One objective's scalar, before weighting."""
        options = self.options.get(name, {})
        if name == "id":
            if labels is None:
                raise ValueError("labels is None: the objective 'id' needs the training label of each pair's person.")
            return id_loss(self.identity_head(image_embeds), self.identity_head(text_embeds), labels, **options)
        if name == "sdm":
            return sdm_loss(image_embeds, text_embeds, person_ids, image_ids=image_ids, **options)
        return _LOSSES[name](image_embeds, text_embeds, person_ids, **options)

    @torch.no_grad()
    def _try_out(self) -> None:
        """Run once on two pairs, so that a bad option value is refused here and not at the first step."""
        width = self.identity_head.classifier.in_features if self.identity_head is not None else 2
        embeds, zeros = torch.ones(2, width), torch.zeros(2, dtype=torch.int64)
        self(embeds, embeds, person_ids=zeros, labels=zeros, image_ids=torch.arange(2))


def _checked_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights above 0, by name, after the checks that `CombinedObjective` documents."""
    for name, weight in weights.items():
        _check_name("objective", name, OBJECTIVES)
        check_number(f"The weight of objective {name!r}", weight, least=0)
    used = {name: float(weight) for name, weight in weights.items() if weight > 0}
    if not used:
        raise ValueError(f"The objective weights are {dict(weights)}: at least one must be above 0.")
    return used


def _checked_options(options: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The options by objective, after a check of every name; the losses check the values."""
    for name, values in options.items():
        _check_name("objective", name, OBJECTIVES)
        # image_ids is keyword-only too, but it is data.
        settings = set(inspect.getfullargspec(_LOSSES[name]).kwonlyargs) - {"image_ids"}
        for option in values:
            _check_name(f"option of objective {name!r}", option, sorted(settings))
    return {name: dict(values) for name, values in options.items()}


def _check_name(kind: str, name: str, known: Sequence[str]) -> None:
    """Refuse a name that is not one of `known`, suggesting the nearest."""
    if name not in known:
        nearest = get_close_matches(str(name), known, n=1, cutoff=0)[0]
        raise ValueError(f"{name!r} is no {kind}: did you mean {nearest!r}? Known are {', '.join(known)}.")
