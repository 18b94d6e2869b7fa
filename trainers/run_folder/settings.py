"""The settings of a run as its `config.yaml` has them, beside whatever part of the run a model's name points at."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError

from trainers.arguments.fields import rules
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.run_folder.files import read_config

CONFIG = "config.yaml"
PARENTS = 3  # RUN/checkpoints/two-best/weights is the deepest part of a run that holds a model


def complete_settings(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run, including those that its version did not have."""
    return asdict(TwoStageTrainingArguments()) | unrecorded_settings(recorded) | dict(recorded)


def unrecorded_settings(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """What a run did where it lacks a setting whose default does something else."""
    return {
        name: rule.before
        for name, rule in rules(TwoStageTrainingArguments).items()
        if rule.before is not None and name not in recorded
    }


def settings_of_model(name_or_path: str | os.PathLike) -> tuple[str, TwoStageTrainingArguments] | None:
    """Where the settings of the run that made a model lie, and the settings; `None` where they cannot be found.

    Args:
        name_or_path: a run folder, or any folder in it, such as `model` or a checkpoint; a pushed model, as a folder
            or by its name on the Hub.

    Raises:
        ValueError: the folder's own `config.yaml` is damaged, or no run's.
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
    """The settings that were pushed with a model; `None` where there are none or they cannot be had."""
    try:
        return Path(hf_hub_download(name, CONFIG))
    except (EntryNotFoundError, HFValidationError, OSError):  # `evaluate` says that it knows of no draw
        return None


def _is_of_run(path: Path) -> bool:
    try:
        recorded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
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


__all__ = ["complete_settings", "settings_of_model", "unrecorded_settings"]
