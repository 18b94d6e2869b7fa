"""The user's own data set, named in settings as MODULE:FUNCTION."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets

from dataset_scripts.common.own_code import import_function
from dataset_scripts.parquet.columns import check_schema
from dataset_scripts.parquet.rows import check_annotation, loaded_rows

SPLITS = ("train", "validation", "test")

SIGNATURE = "(split, **dataset_options) -> datasets.Dataset, or None for a missing split"


def own_splits(
    name: str, data_dir: str | Path | None, options: Mapping[str, Any], splits: Sequence[str] = SPLITS
) -> dict[str, datasets.Dataset]:
    """Call the user's function for each split, and check the rows like those of any other set.

    Args:
        name: MODULE:FUNCTION, typed by the user.
        data_dir: passed on if set.
        options: passed on.
        splits: some of `SPLITS`; a missing one is left out of the result.

    Raises ValueError: the function cannot be imported, fails, or returns something else; an invalid row, or a person
        in two of the splits.
    """
    found = {split: _call(name, split, data_dir, options) for split in splits}
    present = {split: rows for split, rows in found.items() if rows is not None}
    check_annotation({split: loaded_rows(rows, f"{name}, {split}") for split, rows in present.items()})
    return present


def _call(name: str, split: str, data_dir: str | Path | None, options: Mapping[str, Any]) -> datasets.Dataset | None:
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


__all__ = ["own_splits"]
