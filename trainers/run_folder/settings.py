"""Read a run's settings from any part of the run that a model's name points at."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError

from dataset_scripts.common.text.documents import read_yaml
from trainers.arguments.fields import rules
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.run_folder.files import read_config

CONFIG = "config.yaml"
PARENTS = 3  # RUN/checkpoints/two-best/weights is the deepest part of a run that holds a model


def complete_settings(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run, including those its version lacked."""
    return asdict(TwoStageTrainingArguments()) | unrecorded_settings(recorded) | dict(recorded)


def unrecorded_settings(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run did for missing settings whose default has changed."""
    return {
        name: rule.before
        for name, rule in rules(TwoStageTrainingArguments).items()
        if rule.before is not None and name not in recorded
    }


def setting_differences(one: TwoStageTrainingArguments, other: TwoStageTrainingArguments) -> dict[str, list[Any]]:
    """Return both values of each setting in which two runs differ, of those that affect data or weights."""
    values = {
        name: [getattr(one, name), getattr(other, name)] for name, rule in rules(one).items() if not rule.resumable
    }
    return {name: both for name, both in values.items() if both[0] != both[1]}


def settings_of_model(name_or_path: str | os.PathLike) -> tuple[str, TwoStageTrainingArguments] | None:
    """Find the settings of the run that made a model, and their place; `None` if unknown.

    Args:
        name_or_path: a run folder, or any folder in it, such as `model` or a checkpoint; or a pushed model, as a
            folder or by its name on the Hub.

    Raises ValueError: the folder's own `config.yaml` is damaged, or not a run's.
    """
    folder = Path(name_or_path)
    if not folder.is_dir():
        path = _from_hub(os.fspath(name_or_path))
        return None if path is None else (os.fspath(name_or_path), _read(path))
    places = (folder.absolute(), *folder.absolute().parents[:PARENTS])
    for place in dict.fromkeys((*places, folder.resolve(), *folder.resolve().parents[:PARENTS])):
        if (place / CONFIG).is_file() and (place == folder.absolute() or _is_of_run(place / CONFIG)):
            return str(place), _read(place / CONFIG)
    return None


def _from_hub(name: str) -> Path | None:
    """Download the settings pushed with a model; `None` if there are none or the Hub fails."""
    try:
        return Path(hf_hub_download(name, CONFIG))
    except (EntryNotFoundError, HFValidationError, OSError):  # `evaluate` says that it knows of no draw
        return None


def _is_of_run(path: Path) -> bool:
    try:
        recorded = read_yaml(path)
    except (OSError, ValueError):
        recorded = None
    if not isinstance(recorded, dict):  # damaged, where the rest of a run lies beside it
        return all((path.parent / name).exists() for name in ("metrics.jsonl", "results.json"))
    return {"dataset", "dataset_options", "stages"} <= recorded.keys()


def _read(path: Path) -> TwoStageTrainingArguments:
    try:
        return TwoStageTrainingArguments(**complete_settings(read_config(path)))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} cannot be read as the settings of a run ({error}), so nobody can tell which persons it was "
            "trained on; restore the file"
        ) from error


__all__ = ["complete_settings", "setting_differences", "settings_of_model", "unrecorded_settings"]
