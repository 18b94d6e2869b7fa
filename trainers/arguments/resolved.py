"""Settings as they are recorded: folders, models, data passed in Python."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets

from dataset_scripts import PERSON_SEARCH_DATASETS
from modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.loading import STAND_IN
from trainers.arguments.effects import settings_without_effect
from trainers.arguments.fields import rules
from trainers.arguments.settings import TwoStageTrainingArguments

UNNAMED_MODEL = "model given in Python"  # recorded in runs, like the next: these texts must not change
UNNAMED_DATA = "data given in Python"
SYNTHETIC = "synthetic_pedes"

logger = logging.getLogger(__name__)


def resolve_settings(
    args: TwoStageTrainingArguments,
    model: PromptCLIPModel | None,
    splits: Mapping[str, datasets.Dataset | datasets.IterableDataset] | None,
) -> TwoStageTrainingArguments:
    """Make folders absolute, name a model and data passed in Python.

    A relative folder would look like a name on the Hub once the run is published from elsewhere, and a default that
    was never read would claim that a run on private pictures saw drawn ones. Settings without effect are warned of.

    Args:
        args: the settings.
        model: passed to the trainer.
        splits: passed to the trainer.

    Raises ValueError: neither `base_model` is set nor a model passed.
    """
    resolved: dict[str, Any] = {
        name: map_sources(getattr(args, name), _absolute)
        for name, rule in rules(args).items()
        if rule.local in ("model", "data") and not isinstance(getattr(args, name), dict)  # whose files lie in data_dir
    }
    if args.base_model is None:
        if model is None:
            raise ValueError(
                "base_model is not set; name a CLIP: a folder, a Hub id such as openai/clip-vit-base-patch16, or "
                f"'{STAND_IN}', the small one of this package, for a try"
            )
        resolved["base_model"] = str(model.name_or_path) or UNNAMED_MODEL
    if splits is not None and args.dataset == SYNTHETIC:
        train = splits.get("train")
        if train is None or train.info.builder_name != SYNTHETIC:
            resolved["dataset"] = UNNAMED_DATA
    for sentence in settings_without_effect(args):
        logger.warning("%s", sentence)
    changed = {name: value for name, value in resolved.items() if value != getattr(args, name)}
    return replace(args, **changed) if changed else args


def names_local_folder(name: str) -> bool:
    """Tell whether a name is a local folder, even a removed one."""
    if name in (STAND_IN, *PERSON_SEARCH_DATASETS):  # a folder of that name may exist, too
        return False
    return Path(name).is_absolute() or name.startswith((".", "~")) or Path(name).is_dir()


def is_private_base(base_model: str) -> bool:
    """Tell whether nobody else can get a base model."""
    return base_model == UNNAMED_MODEL or names_local_folder(base_model)


def map_sources(value: Any, change: Callable[[str, str], str]) -> Any:
    """Rewrite each name and local folder in the value of a setting.

    Args:
        value: NAME, FOLDER, NAME=FOLDER (NAME being a data set), a list or mapping of them, or anything else, which
            stays.
        change: makes the new text of a name and a folder, one of which may be empty.
    """
    if isinstance(value, list):
        return [map_sources(item, change) for item in value]
    if isinstance(value, dict):
        return {key: map_sources(item, change) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    name, mark, folder = value.partition("=")
    if mark and name in PERSON_SEARCH_DATASETS:
        return change(name, folder)
    return change("", value) if names_local_folder(value) else change(value, "")


def _absolute(name: str, folder: str) -> str:
    path = Path(folder).expanduser()
    folder = str(path.absolute()) if folder and path.is_dir() else folder
    return f"{name}={folder}" if name and folder else name or folder


__all__ = [
    "SYNTHETIC",
    "UNNAMED_DATA",
    "UNNAMED_MODEL",
    "is_private_base",
    "map_sources",
    "names_local_folder",
    "resolve_settings",
]
