"""Rows to evaluate a model on, with the splits of the run that made it."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dataset_scripts import PERSON_SEARCH_DATASETS
from dataset_scripts.builders.synthetic_pedes import SyntheticPedesConfig
from dataset_scripts.common.own_code import names_code
from dataset_scripts.formats import FORMATS, detect_format, get_format
from dataset_scripts.parquet import is_parquet_folder
from modeling_prompt_clip.loading import STAND_IN
from trainers.arguments.resolved import SYNTHETIC, UNNAMED_DATA
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.data.splits import joined_options, resolve_source, source_label, source_options
from trainers.run_folder.settings import settings_of_model

logger = logging.getLogger(__name__)

DRAWING = ("validation_share", "test_share", "split_seed", "split_rule")
SHARES = ("validation_share", "test_share", "train_identities")
IDENTITIES = ("train_identities", "validation_identities", "test_identities")


@dataclass(frozen=True)
class EvaluatedData:
    """A data set as [`load_person_search`] takes it."""

    name: str  # name, data_dir: of the set
    data_dir: str | Path | None
    options: Mapping[str, Any]  # of its builder

    @property
    def format(self) -> str:
        """Name of the set, detected if only a folder is known; "auto" if detection fails."""
        if self.name != "auto":
            return self.name
        try:
            return "parquet" if is_parquet_folder(self.data_dir) else detect_format(self.data_dir).name
        except (OSError, ValueError):
            return self.name

    @property
    def label(self) -> str:
        """The set's name for people."""
        return source_label(self.name, self.data_dir)

    def drawing(self) -> dict[str, Any]:
        """Options that decide the splits, with defaults; empty for sets with their own splits."""
        known = self.format
        if known == SYNTHETIC:
            return {name: getattr(SyntheticPedesConfig(**self.options), name) for name in IDENTITIES}
        if known not in FORMATS:
            return {}
        defaults = {"split_seed": 0, "split_rule": "names"}
        drawing = defaults | {name: self.options[name] for name in DRAWING if self.options.get(name) is not None}
        for name, share in zip(DRAWING, self._default_shares(), strict=False):
            drawing.setdefault(name, share)
        return drawing

    def draws(self) -> bool:
        """Whether a folder of this set lacks splits, so a tenth is drawn for each."""
        return any(self._default_shares())

    def _default_shares(self) -> tuple[float, float]:
        try:
            layout = get_format(self.format)
            return layout.shares(layout.find(self.data_dir))
        except (OSError, ValueError):
            return 0.0, 0.0


@dataclass(frozen=True)
class _Trained:
    """A data set that a run was trained on, and the place of its settings."""

    place: str
    data: EvaluatedData

    def relation(self, other: EvaluatedData) -> str:
        """Compare sets: "same", "maybe" (the folder may have moved), or "no"."""
        mine, theirs = self.data.format, other.format
        if names_code(mine):
            return "same" if mine == theirs else "no"
        if mine == SYNTHETIC == theirs:
            seed = self.data.options.get("seed", 0)
            return "same" if other.options.get("seed", seed) == seed else "no"  # another seed gives other persons
        label_only = mine not in PERSON_SEARCH_DATASETS and "/" not in mine  # all that a pushed run tells of a folder
        if theirs not in FORMATS or not (mine in (theirs, "auto") or label_only):
            return "no"
        if self.data.data_dir is None or other.data_dir is None:
            return "maybe"
        same = Path(self.data.data_dir).expanduser().resolve() == Path(other.data_dir).expanduser().resolve()
        return "same" if same else "maybe"


def evaluated_data(
    models: Sequence[str], data: str | None, data_dir: Path | None, wanted: Mapping[str, Any]
) -> EvaluatedData:
    """Choose the rows to evaluate models on.

    Args:
        models: the model, and the one to compare with.
        data, data_dir: as the user names them; by default the set of the run that made the first model.
        wanted: options of the set that the user names.

    Returns:
        The set with the run's options if the run was trained on it, and its splits if it may have been.

    Raises:
        ValueError: no data are named or known; options that contradict a run's.
        OSError: see [`settings_of_model`].
    """
    runs = list(_runs_of(models))
    if data is None:
        own = next(_runs_of(models[:1]), None)
        if own is None or own[1].dataset == UNNAMED_DATA:
            why = "was trained on data given in Python" if own else "has no config.yaml of a run beside it"
            raise ValueError(f"data is not named, and {models[0]} {why}; name it: --data DIR_OR_NAME")
        name, folder = resolve_source(own[1].dataset, own[1].data_dir)
        if names_code(name):
            raise ValueError(
                f"data is not named, and {models[0]} was trained on {name}, code that only you can start: if you "
                f"trust it, add --data {name}"
            )
    else:
        name, folder = resolve_source(data, data_dir)
    trained = [each for place, args in runs for each in _trained_on(place, args)]
    options = _options(trained, EvaluatedData(name, folder, wanted))
    chosen = EvaluatedData(name, folder, {**options, **wanted})
    check_drawing(trained, chosen)
    if data is None:
        drawn = (
            f" with {', '.join(f'{key}={value}' for key, value in chosen.options.items())}" if chosen.options else ""
        )
        logger.info("data: %s%s, as %s was trained", f"{name} in {folder}" if folder else name, drawn, models[0])
    return chosen


def check_earlier_runs(args: TwoStageTrainingArguments) -> None:
    """Check that runs behind the base model and adapter did not train on this run's test persons.

    Raises ValueError: one of them drew the splits of the same set by other options.
    """
    names = [name for name in (args.base_model, args.adapter) if name and Path(name).is_dir()]
    trained = [each for place, earlier in _runs_of(names) for each in _trained_on(place, earlier)]
    if trained and args.dataset != UNNAMED_DATA:
        name, folder = resolve_source(args.dataset, args.data_dir)
        check_drawing(trained, EvaluatedData(name, folder, source_options(args, name, folder)))


def check_drawing(trained: Sequence[_Trained], data: EvaluatedData) -> None:
    """Compare splits with those of runs that were trained on the set.

    Raises:
        ValueError: a run was trained on the same set by other options; if it only may be the same, a warning says so.
    """
    if data.format == SYNTHETIC:
        data = replace(data, options={"seed": 0, **data.options})
    here = data.drawing()
    for each in trained:
        draws = any(each.data.drawing().get(name) for name in SHARES[:2])
        if draws and data.format not in (*FORMATS, SYNTHETIC, "auto"):
            logger.warning(
                "the run in %s drew its splits of %s, %s has splits of its own: where both hold the same persons, it "
                "was trained on some of those tested",
                each.place,
                each.data.label,
                data.label,
            )
            continue
        relation = each.relation(data)
        there = EvaluatedData(data.name, data.data_dir, each.data.options).drawing() if relation != "no" else here
        different = [
            f"{name} {there[name]!r} there and {here[name]!r} here" for name in here if there[name] != here[name]
        ]
        if not different or not any(side[name] for side in (there, here) for name in here if name in SHARES):
            continue
        told = f"the run in {each.place} drew the splits of {each.data.label} by {'; '.join(different)}"
        if relation == "same":
            raise ValueError(
                f"{told}: persons that it was trained on would be tested. Leave the options out of evaluate, which "
                "takes the run's; train with the run's dataset_options and split_rule"
            )
        logger.warning("%s: where both hold the same persons, it was trained on some of those tested", told)


def _runs_of(models: Sequence[str]) -> Iterator[tuple[str, TwoStageTrainingArguments]]:
    """Yield the settings of the runs that made these models, their base models and adapters."""
    seen: set[str] = set()
    waiting = [name for name in models if name != STAND_IN]
    while waiting:
        found = settings_of_model(waiting.pop(0))
        if found is None or found[0] in seen:
            continue
        seen.add(found[0])
        yield found
        args = found[1]
        waiting += [name for name in (args.base_model, args.adapter) if name and Path(name).is_dir()]


def _trained_on(place: str, args: TwoStageTrainingArguments) -> Iterator[_Trained]:
    """Yield the data sets of a run; further training sets have the options that combining gives them."""
    if args.dataset == UNNAMED_DATA:
        return
    name, folder = resolve_source(args.dataset, args.data_dir)
    yield _Trained(place, EvaluatedData(name, folder, source_options(args, name, folder)))
    for source in args.also_train_on:
        name, _, folder = source.partition("=")
        name, folder = resolve_source(name, folder or None)
        yield _Trained(place, EvaluatedData(name, folder, joined_options(args, name, folder)))


def _options(trained: Sequence[_Trained], data: EvaluatedData) -> Mapping[str, Any]:
    """Return the options of the first run trained on a set; only its splits if the set may differ."""
    for each in trained:
        if each.relation(data) == "same":
            return each.data.options
    for each in trained:
        if each.relation(data) == "maybe":
            taken = {name: each.data.options[name] for name in DRAWING if name in each.data.options}
            if data.format == "custom" and not data.draws():  # this folder has splits of its own
                taken = {}
            if taken:
                logger.info("splits are drawn as the run in %s drew its own: %s", each.place, taken)
            return taken
    return {}


__all__ = ["EvaluatedData", "check_earlier_runs", "evaluated_data"]
