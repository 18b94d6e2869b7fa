"""Origin and terms of a run's data and base model."""

import os
from pathlib import Path
from typing import Any

from dataset_scripts.formats import FORMATS, detect_format, get_format
from dataset_scripts.parquet import is_parquet_folder
from dataset_scripts.parquet.manifest import Manifest
from modeling_prompt_clip.hub.card_facts import DataSource
from modeling_prompt_clip.hub.model_card import hub_name
from modeling_prompt_clip.loading import STAND_IN
from trainers.arguments.resolved import SYNTHETIC, map_sources, names_local_folder
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.data.splits import resolve_source, source_label

UNKNOWN = "The trainer does not know where it comes from, nor its terms. Ask whoever trained the model."

Source = tuple[str, str | Path | None]


def is_drawn(args: TwoStageTrainingArguments) -> bool:
    """Tell whether a run and its base model only saw drawn pictures."""
    other = args.also_train_on or args.adapter
    return (args.base_model, args.dataset) == (STAND_IN, SYNTHETIC) and not other


def sources_of(args: TwoStageTrainingArguments) -> list[Source]:
    """List name and folder of each data set, the run's own first."""
    others = [source.partition("=") for source in args.also_train_on]
    joined = [resolve_source(name, folder or None) for name, _, folder in others]
    return [resolve_source(args.dataset, args.data_dir), *joined]


def data_sources(args: TwoStageTrainingArguments) -> tuple[DataSource, ...]:
    """List the data sets of a run, its own first."""
    return tuple(_data_source(*source) for source in sources_of(args))


def all_sources(args: TwoStageTrainingArguments) -> tuple[DataSource, ...]:
    """List data sets, base model, and the run that made its prompts."""
    sources = (*data_sources(args), base_source(args.base_model))
    return (*sources, DataSource("Prompts of an earlier run", UNKNOWN)) if args.adapter else sources


def public_value(setting: Any) -> Any:
    """Shorten folders in the value of a setting to their names."""
    return map_sources(setting, lambda name, folder: name or _folder_name(folder))


def _folder_name(folder: str) -> str:
    path = Path(os.path.abspath(Path(folder).expanduser()))
    return path.parent.name if path.name in ("model", "adapter") else path.name  # those are parts of a run


def base_source(name: str) -> DataSource:
    """Describe the origin and terms of a base model."""
    label = f"Base model {public_value(name)}"
    if name == STAND_IN:
        return DataSource(label, "Ships with this package, and has seen drawn catalogue pictures alone. Apache-2.0.")
    if not names_local_folder(name) and (on_hub := hub_name(name)):
        return DataSource(label, "Its terms stand on its own card.", f"https://huggingface.co/{on_hub}")
    return DataSource(label, UNKNOWN)


def _data_source(name: str, folder: str | Path | None) -> DataSource:
    if on_hub := hub_name(name):
        page = f"https://huggingface.co/datasets/{on_hub}"
        return DataSource(name, "A data set on the Hub; its terms stand on its card.", page)
    known = _known_name(name, folder)
    if known == SYNTHETIC:
        terms = "Pedestrians and sentences that code of this package made; they show nobody. Apache-2.0."
        return DataSource(known, terms)
    if known in FORMATS and known != "custom":
        declared = get_format(known)
        terms = f"Terms: {declared.terms}. Read the wording at the source."
        return DataSource(declared.title, terms, declared.homepage, declared.citation)
    return DataSource(source_label(name, folder), UNKNOWN)


def _known_name(name: str, folder: str | Path | None) -> str:
    """Detect which set a folder holds."""
    if name not in ("auto", "parquet"):
        return name
    try:
        if is_parquet_folder(folder):
            manifest = Manifest.read(Path(folder).expanduser())
            return manifest.source.name if manifest else name
        return detect_format(folder).name
    except (OSError, ValueError):  # it is gone, or another one since the run read it
        return name


__all__ = ["all_sources", "base_source", "data_sources", "is_drawn", "public_value", "sources_of"]
