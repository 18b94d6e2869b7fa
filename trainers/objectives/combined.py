"""A weighted sum of named objectives: the loss of a stage."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from dataset_scripts.common.numbers import check_number
from dataset_scripts.common.own_code import names_code
from dataset_scripts.common.text.suggest import nearest_name
from trainers.objectives.citc import citc_loss
from trainers.objectives.identity import IdentityHead, id_loss
from trainers.objectives.itc import itc_loss
from trainers.objectives.mlm import MaskedWordHead
from trainers.objectives.own import call_own_loss, own_loss
from trainers.objectives.sdm import sdm_loss
from trainers.objectives.tal import tal_loss

_EMBEDDING_LOSSES: dict[str, Callable[..., Tensor]] = {
    "sdm": sdm_loss,
    "itc": itc_loss,
    "tal": tal_loss,
    "citc": citc_loss,
}
_TEMPERATURES = MappingProxyType(
    {
        name: inspect.signature(loss).parameters["temperature"].default
        for name, loss in _EMBEDDING_LOSSES.items()
        if "temperature" in inspect.signature(loss).parameters
    }
)
# CLIP learns 1 / temperature, "clipped to prevent scaling the logits by more than 100" (arXiv 2103.00020, section 2.5)
LEAST_TEMPERATURE = 0.01
# What the keyword options of each objective belong to.
_CONFIGURED: dict[str, Callable[..., Any]] = {**_EMBEDDING_LOSSES, "id": id_loss, "mlm": MaskedWordHead}
OBJECTIVES: tuple[str, ...] = tuple(_CONFIGURED)


class CombinedObjective(nn.Module):
    """Sum of named objectives times their weights; holds the heads of `id` and `mlm`.

    With `learn_temperature` it also holds the logarithms of the temperatures in `log_temperatures`, of shape `(1,)`
    because FSDP2 takes no trained parameter without dimensions. Their values are among the terms, as
    `NAME_temperature`.

    Args:
        weights: objective (one of `OBJECTIVES`, or MODULE:FUNCTION, see [`own_loss`]) -> weight, a finite number, 0 or
            more, at least one above 0. An objective of weight 0 is not computed, imported or given a head.
        options: objective -> keyword options of its loss, or of its head for `mlm`, such as `{"sdm": {"temperature":
            0.02}, "mlm": {"layers": 2}}`. Options of unused objectives are ignored, so one table may serve two stages.
        embedding_dim: width D of the embeddings; needed for `id` and `mlm`.
        num_identities: number of training identities; needed for `id`.
        vocab_size: number of words of the text tower; needed for `mlm`.
        learn_temperature: train the temperatures of `sdm`, `itc` and `tal`, starting from the options or the losses'
            defaults; call `limit_temperatures` after each optimizer step.

    Raises:
        ValueError: an unknown name or option (the nearest is suggested), a value that breaks its rule, no weight above
            0, a missing number for `id` or `mlm`, or no objective with a temperature to learn.
        TypeError: a weight or an option is not a number.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        options: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        embedding_dim: int | None = None,
        num_identities: int | None = None,
        vocab_size: int | None = None,
        learn_temperature: bool = False,
    ):
        super().__init__()
        self.weights = _checked_weights(weights)
        self.options = _checked_options(options or {})
        self.own = {name: own_loss("objectives", name) for name in self.weights if names_code(name)}
        self.identity_head = self.mlm_head = None
        if "id" in self.weights:
            _check_sizes("id", embedding_dim=embedding_dim, num_identities=num_identities)
            self.identity_head = IdentityHead(embedding_dim, num_identities)
        if "mlm" in self.weights:
            _check_sizes("mlm", embedding_dim=embedding_dim, vocab_size=vocab_size)
            self.mlm_head = MaskedWordHead(embedding_dim, vocab_size, **self.options.get("mlm", {}))
        self.log_temperatures = nn.ParameterDict()
        self._try_out()
        if learn_temperature:
            first = first_temperatures(self.weights, self.options)
            self.log_temperatures.update({name: torch.tensor([math.log(value)]) for name, value in first.items()})

    @torch.no_grad()
    def limit_temperatures(self) -> None:
        """Clamp learned temperatures to at least 0.01, like CLIP."""
        for logarithm in self.log_temperatures.values():
            logarithm.clamp_(min=math.log(LEAST_TEMPERATURE))

    def forward(
        self,
        image_embeds: Tensor,
        text_embeds: Tensor,
        person_ids: Tensor,
        labels: Tensor | None = None,
        image_ids: Tensor | None = None,
        mlm: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of the objectives over a batch of pairs, and its terms.

        Args:
            image_embeds, text_embeds: `[N, D]`, unit length; row i of both is a pair.
            person_ids: `[N]` integers.
            labels: `[N]` integers in [0, num_identities); needed for `id`.
            image_ids: `[N]` integers; needed for `sdm` and `itc` with unequal weights.
            mlm: scalar, `mlm_loss` of this batch's masked captions under `mlm_head`; needed for `mlm`.

        Returns:
            The total, a scalar, and by name each objective's value before weighting, detached, then learned
                temperatures.

        Raises ValueError, TypeError: from the objectives; missing `labels` for `id` or `mlm` for `mlm`.
        """
        terms = {}
        learned = {name: logarithm.exp()[0] for name, logarithm in self.log_temperatures.items()}
        for name in self.weights:
            if name == "id":
                terms[name] = self._id_term(image_embeds, text_embeds, labels)
            elif name == "mlm":
                if mlm is None:
                    raise ValueError("mlm is None: the objective 'mlm' needs the loss of masked captions.")
                terms[name] = mlm
            elif name in self.own:
                pairs = image_embeds, text_embeds, person_ids
                terms[name] = call_own_loss(self.own[name], *pairs, image_ids=image_ids, labels=labels)
            else:
                ids = {"image_ids": image_ids} if name in ("sdm", "itc") else {}
                options = self.options.get(name, {}) | ({"temperature": learned[name]} if name in learned else {})
                terms[name] = _EMBEDDING_LOSSES[name](image_embeds, text_embeds, person_ids, **ids, **options)
        total = torch.stack([weight * terms[name] for name, weight in self.weights.items()]).sum()
        terms |= {f"{name}_temperature": temperature for name, temperature in learned.items()}
        return total, {name: term.detach() for name, term in terms.items()}

    def _id_term(self, image_embeds: Tensor, text_embeds: Tensor, labels: Tensor | None) -> Tensor:
        if labels is None:
            raise ValueError("labels is None: the objective 'id' needs the training label of each pair's person.")
        head = self.identity_head
        return id_loss(head(image_embeds), head(text_embeds), labels, **self.options.get("id", {}))

    @torch.no_grad()
    def _try_out(self) -> None:
        """Run once on two pairs, so bad options are refused before the first step."""
        if self.own:  # which were tried on pairs that suit them better
            return
        width = self.identity_head.classifier.in_features if self.identity_head is not None else 2
        embeds, zeros = torch.ones(2, width), torch.zeros(2, dtype=torch.int64)
        self(embeds, embeds, person_ids=zeros, labels=zeros, image_ids=torch.arange(2), mlm=torch.zeros(()))


def first_temperatures(weights: Mapping[str, float], options: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the temperatures that learning starts from, by objective.

    Args:
        weights, options: as for `CombinedObjective`.

    Raises:
        ValueError: no objective with a weight above 0 has a temperature, or one starts below `LEAST_TEMPERATURE`.
        TypeError: a temperature is no number.
    """
    used = [name for name, weight in weights.items() if weight > 0]
    first = {
        name: options.get(name, {}).get("temperature", default)
        for name, default in _TEMPERATURES.items()
        if name in used
    }
    if not first:
        raise ValueError(
            f"learn_temperature is set, but {', '.join(used)} has no temperature; leave it out, or give one of "
            f"{', '.join(_TEMPERATURES)} a weight"
        )
    for name, temperature in first.items():
        check_number(f"{name}_temperature, which is to be learned,", temperature, least=LEAST_TEMPERATURE)
    return first


def _check_sizes(objective: str, **sizes: int | None) -> None:
    if None in sizes.values():
        missing = " and ".join(f"{name} is {value}" for name, value in sizes.items())
        raise ValueError(
            f"{missing}: the objective {objective!r} trains a head and needs both; pass them, or leave "
            f"{objective!r} out."
        )


def _checked_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Check the weights as `CombinedObjective` documents; return those above 0."""
    for name, weight in weights.items():
        if not names_code(name):
            _check_name("objective", name, OBJECTIVES)
        check_number(f"The weight of objective {name!r}", weight, least=0)
    used = {name: float(weight) for name, weight in weights.items() if weight > 0}
    if not used:
        raise ValueError(f"The objective weights are {dict(weights)}: at least one must be above 0.")
    return used


def _checked_options(options: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Check the names of options; the losses check the values."""
    for name, values in options.items():
        _check_name("objective", name, OBJECTIVES)
        # image_ids is keyword-only too, but it is data.
        settings = set(inspect.getfullargspec(_CONFIGURED[name]).kwonlyargs) - {"image_ids"}
        for option in values:
            _check_name(f"option of objective {name!r}", option, sorted(settings))
    return {name: dict(values) for name, values in options.items()}


def _check_name(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        nearest = nearest_name(str(name), known, cutoff=0)
        raise ValueError(f"{name!r} is no {kind}: did you mean {nearest!r}? Known are {', '.join(known)}.")
