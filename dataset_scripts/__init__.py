"""Person-search data sets: one schema, one way to load them, and the checks that come before training.

    >>> from dataset_scripts import load_person_search
    >>> train = load_person_search("cuhk_pedes", data_dir="CUHK-PEDES", split="train")
    >>> train[0]["captions"]

The builders live in their own files and are imported when they are asked for, so importing this package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from dataset_scripts.suggest import did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

__all__ = ["PERSON_SEARCH_DATASETS", "load_person_search"]

_BUILDERS = MappingProxyType(
    {
        "cuhk_pedes": ("dataset_scripts.cuhk_pedes", "CuhkPedes"),
        "synthetic_pedes": ("dataset_scripts.synthetic_pedes", "SyntheticPedes"),
    }
)

PERSON_SEARCH_DATASETS = tuple(_BUILDERS)
"""Names that `load_person_search` takes."""


def load_person_search(
    name: str,
    data_dir: str | Path | None = None,
    split: str | None = "train",
    *,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
    **options: int,
) -> Dataset | DatasetDict:
    """Loads a person-search set, building its table at the first call and after a change of its annotation.

    Args:
        name: one of `PERSON_SEARCH_DATASETS`.
        data_dir: folder of the data set; for `synthetic_pedes`, where to keep what is drawn (optional).
        split: `train`, `validation` or `test`; None for all that there are.
        cache_dir: where tables are kept; by default where `datasets` keeps its own.
        num_proc: processes that build the table, 1 or more; None leaves it to the set.
        options: what the set's builder takes beside (`SyntheticPedesConfig` lists them).

    Returns:
        A `Dataset` with one row for each image: `image` (RGB), `image_id`, `person_id`, `captions` (list), `camera`
        (or None). For `split=None`, a `DatasetDict` of them.

    Raises:
        ValueError: an unknown name or split, a value out of its range, a wrong row in the annotation.
        TypeError: an unknown option.
        OSError: a folder, annotation or image is missing or cannot be read.
    """
    if name not in _BUILDERS:
        raise ValueError(
            f"name is {name!r}, but the data sets are {', '.join(_BUILDERS)}.{did_you_mean(str(name), _BUILDERS)}"
        )
    if num_proc is not None and num_proc < 1:
        raise ValueError(f"num_proc is {num_proc}, but must be 1 or more, or None.")
    module, class_name = _BUILDERS[name]
    builder_class = getattr(import_module(module), class_name)
    for option in options:
        if option not in builder_class.option_names:
            known = ("cache_dir", "num_proc", *builder_class.option_names)
            raise TypeError(
                f"{name} has no option {option!r}; its options are {', '.join(known)}.{did_you_mean(option, known)}"
            )
    builder = builder_class(data_dir=data_dir, cache_dir=cache_dir, **options)
    builder.download_and_prepare(num_proc=num_proc or builder.worker_processes())
    return builder.as_dataset(split)
