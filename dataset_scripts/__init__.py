"""Person-search data sets: one schema, one loader, and checks before training.

>>> from dataset_scripts import load_person_search
>>> train = load_person_search("cuhk_pedes", data_dir="CUHK-PEDES", split="train")
>>> train[0]["captions"]
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_scripts.common.numbers import check_integer
from dataset_scripts.common.text.suggest import did_you_mean
from dataset_scripts.formats import FORMATS, detect_format

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

    from dataset_scripts.builders.table import PersonSearchTable

__all__ = ["PERSON_SEARCH_DATASETS", "load_person_search", "skipped_images"]

PERSON_SEARCH_DATASETS = ("synthetic_pedes", *FORMATS, "parquet", "auto")
"""Names that `load_person_search` takes, beside `USER/NAME` of a set on the Hub."""


def load_person_search(
    name: str,
    data_dir: str | Path | None = None,
    split: str | None = "train",
    *,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
    streaming: bool = False,
    **options: bool | int | float | str | None,
) -> Dataset | DatasetDict | IterableDataset | IterableDatasetDict:
    """Load a person-search set, rebuilding its table after changes to the annotation.

    Args:
        name: one of `PERSON_SEARCH_DATASETS`; `auto` detects what `data_dir` holds, `parquet` is a folder made by
            `prompt-clip data convert`, `USER/NAME` a set on the Hub.
        data_dir: folder of the data set; for `synthetic_pedes`, where to keep the drawn set (optional).
        split: `train`, `validation` or `test`; None for all.
        cache_dir: where tables are kept; by default the cache of `datasets`.
        num_proc: processes that build the table, 1 or more; None for the set's default.
        streaming: read rows on demand, without a table; only for `parquet` and sets on the Hub.
        options: fields of `SyntheticPedesConfig` or `PersonSearchConfig`.

    Returns:
        A `Dataset` with one row per image: `image` (RGB), `image_id`, `person_id`, `captions` (list), `camera` (or
            None). A `DatasetDict` for `split=None`. With `streaming`, an `IterableDataset` (or its dict) of the same
            rows in order.

    Raises:
        ValueError: an unknown name or split, a value out of range, an invalid row.
        TypeError: an unknown option, or a value of the wrong type.
        OSError: a folder, annotation or image is missing or unreadable.
    """
    if num_proc is not None:
        check_integer("num_proc", num_proc, least=1)
    if name == "auto":
        name = _name_of(data_dir)
    if name == "parquet" or "/" in name:
        _check_options(name, options, ())
        if streaming and num_proc is not None:
            raise ValueError(f"num_proc is {num_proc}, but a stream builds no table. Leave it out.")
        parquet = import_module("dataset_scripts.parquet")
        if name == "parquet":
            return parquet.load_parquet(data_dir, split, streaming=streaming, cache_dir=cache_dir, num_proc=num_proc)
        return parquet.load_from_hub(name, split, streaming=streaming, cache_dir=cache_dir, num_proc=num_proc)
    if streaming and name in PERSON_SEARCH_DATASETS:
        raise ValueError(f"{name} cannot be streamed; turn it to Parquet first, with prompt-clip data convert.")
    builder = _builder(name, data_dir, cache_dir, options)
    builder.download_and_prepare(num_proc=num_proc or builder.worker_processes())
    return builder.as_dataset(split)


def skipped_images(dataset: Dataset) -> list[dict[str, str | int]]:
    """Return what `on_bad_image="skip"` left out: `image_id`, `split`, `file`, `row`, `reason`."""
    return import_module("dataset_scripts.builders.skipped_images").skipped_images(dataset)


def _builder(name: str, data_dir: str | Path | None, cache_dir: str | Path | None, options: dict) -> PersonSearchTable:
    if name == "synthetic_pedes":
        builder_class = import_module("dataset_scripts.builders.synthetic_pedes").SyntheticPedes
        _check_options(name, options, builder_class.option_names)
        return builder_class(data_dir=data_dir, cache_dir=cache_dir, **options)
    if name not in FORMATS:
        raise ValueError(
            f"name is {name!r}, but the data sets are {', '.join(PERSON_SEARCH_DATASETS)}, or USER/NAME on the Hub."
            f"{did_you_mean(str(name), PERSON_SEARCH_DATASETS)}"
        )
    builder_class = import_module("dataset_scripts.builders.person_search").PersonSearchBuilder
    _check_options(name, options, builder_class.option_names)
    return builder_class(name, data_dir=data_dir, cache_dir=cache_dir, **options)


def _name_of(data_dir: str | Path | None) -> str:
    if data_dir is None:
        raise ValueError("name is 'auto', but data_dir is None. Pass the folder of the data set.")
    if import_module("dataset_scripts.parquet").is_parquet_folder(data_dir):
        return "parquet"
    return detect_format(data_dir).name


def _check_options(name: str, options: dict, taken: tuple[str, ...]) -> None:
    known = ("cache_dir", "num_proc", *taken)
    for option in options:
        if option not in taken:
            raise TypeError(
                f"{name} has no option {option!r}; its options are {', '.join(known)}.{did_you_mean(option, known)}"
            )
