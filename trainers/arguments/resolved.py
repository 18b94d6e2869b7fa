"""Settings that say what a run really starts from, wherever and whenever they are read again."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets

from dataset_scripts import PERSON_SEARCH_DATASETS
from modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.loading import STAND_IN
from trainers.arguments.settings import TwoStageTrainingArguments

GIVEN_MODEL = "model given in Python"
GIVEN_DATA = "data given in Python"
SYNTHETIC = "synthetic_pedes"
NAMES = (STAND_IN, *PERSON_SEARCH_DATASETS)


def settled(
    args: TwoStageTrainingArguments,
    model: PromptCLIPModel | None,
    splits: Mapping[str, datasets.Dataset | datasets.IterableDataset] | None,
) -> TwoStageTrainingArguments:
    """Settings in which folders are absolute, and defaults that were never read give way to what the caller gave.

    A folder would otherwise look like a name on the Hub to whoever publishes the run from elsewhere, and the card of
    a run on somebody's own pictures would say that it has seen drawn ones.

    Args:
        args: the settings.
        model: the model that was given to the trainer.
        splits: the splits that were given to the trainer.
    """
    named: dict[str, Any] = {"base_model": args.base_model, "dataset": args.dataset}
    if model is not None and args.base_model == STAND_IN:
        named["base_model"] = str(model.name_or_path) or GIVEN_MODEL
    if splits is not None and args.dataset == SYNTHETIC:
        train = splits.get("train")
        if train is None or train.info.builder_name != SYNTHETIC:
            named["dataset"] = GIVEN_DATA
    named = {name: _absolute(value) for name, value in named.items()}
    named["adapter"] = args.adapter and _absolute(args.adapter)
    named["also_train_on"] = [_absolute_source(source) for source in args.also_train_on]
    changed = {name: value for name, value in named.items() if value != getattr(args, name)}
    return replace(args, **changed) if changed else args


def is_place(name: str) -> bool:
    """Whether a setting names a folder of the machine that trained, whether or not it is there now."""
    if name in NAMES:  # which a folder beside us may have too
        return False
    return Path(name).is_absolute() or name.startswith((".", "~")) or Path(name).is_dir()


def nobody_has(base_model: str) -> bool:
    """Whether a base model cannot be had by others: a folder, or a nameless one that a caller gave."""
    return base_model == GIVEN_MODEL or is_place(base_model)


def _absolute_source(source: str) -> str:
    """An entry of `also_train_on`: NAME=FOLDER, or one of the two."""
    name, mark, folder = source.partition("=")
    return f"{name}={_absolute(folder)}" if mark else _absolute(name)


def _absolute(name: str) -> str:
    """A folder's whole path; what is no folder as it is."""
    folder = Path(name).expanduser()
    return str(folder.absolute()) if name not in NAMES and folder.is_dir() else name


__all__ = ["GIVEN_DATA", "GIVEN_MODEL", "SYNTHETIC", "is_place", "nobody_has", "settled"]
