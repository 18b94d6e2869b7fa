"""A data set of the user's own, named in settings as MODULE:FUNCTION."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets

from dataset_scripts.common.own_code import import_function
from dataset_scripts.parquet.columns import check_schema

SPLITS = ("train", "validation", "test")

SIGNATURE = "(split, **dataset_options) -> datasets.Dataset, or None for a split that there is not"


def own_splits(name: str, data_dir: str | Path | None, options: Mapping[str, Any]) -> dict[str, datasets.Dataset]:
    """Load all splits of a data set, see [`own_split`]."""
    found = {split: own_split(name, split, data_dir, options) for split in SPLITS}
    return {split: rows for split, rows in found.items() if rows is not None}


def own_split(
    name: str, split: str, data_dir: str | Path | None, options: Mapping[str, Any]
) -> datasets.Dataset | None:
    """Call the user's function for the rows of a split and check their columns.

    Args:
        name: MODULE:FUNCTION, typed by the user.
        split: "train", "validation" or "test".
        data_dir: passed on if set.
        options: passed on.

    Raises ValueError: the function cannot be imported, fails, or returns something else.
    """
    load = import_function("dataset", name)
    folder = {} if data_dir is None else {"data_dir": str(data_dir)}
    try:
        rows = load(split, **folder, **options)
    except Exception as error:  # a function of the user's may raise anything
        raise ValueError(
            f"dataset {name!r} fails for split {split!r} ({type(error).__name__}: {error}); its signature must be "
            f"{SIGNATURE}"
        ) from error
    if rows is None:
        return None
    if not isinstance(rows, datasets.Dataset):
        raise ValueError(
            f"dataset {name!r} returns a {type(rows).__name__} for split {split!r}; its signature must be {SIGNATURE}"
        )
    check_schema(rows.features.arrow_schema, f"split {split!r} of dataset {name!r}")
    return rows


__all__ = ["own_split", "own_splits"]
