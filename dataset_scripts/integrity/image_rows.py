"""Annotation rows grouped by image, as in the builders."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataset_scripts.integrity.findings import Example
from dataset_scripts.integrity.row_columns import NOT_READ, SPLITS, RowColumns

__all__ = ["ImageRows", "first_with_same", "image_rows"]


class ImageRows(NamedTuple):
    """Grouped rows."""

    columns: RowColumns  # all rows
    first: np.ndarray  # for each row, the first row of its image, int64
    images: np.ndarray  # the first row of each image, ascending, int64
    persons: np.ndarray  # person id of each row, int64; if each image is its own person, that of the image's first row
    own_person: bool  # each image is its own person
    folder: Path  # the data folder, for messages

    def example(self, row: int, text: str) -> Example:
        """Build an example of a row."""
        file, index = self.columns.place(row)
        return Example(text, file.relative_to(self.folder).as_posix(), index)

    def row_name(self, row: int) -> str:
        """Name a row, for messages."""
        return f"row {self.columns.place(row)[1]}"

    def describe(self, row: int) -> str:
        """Describe a row by its image, split and person, as far as known."""
        split, person = int(self.columns.splits[row]), int(self.persons[row])
        known = [SPLITS[split]] * (split != NOT_READ) + [f"person {person}"] * (person != NOT_READ)
        return f"{self.columns.image_ids([row])[0]} ({', '.join(known)})"


def image_rows(columns: RowColumns, identity_per_image: bool, folder: Path) -> ImageRows:
    """Group rows by image."""
    first = first_with_same(columns.image_keys)
    images = np.flatnonzero(first == np.arange(len(first)))
    persons = columns.persons[first] if identity_per_image else columns.persons
    return ImageRows(columns, first, images, persons, identity_per_image, folder)


def first_with_same(keys: np.ndarray) -> np.ndarray:
    """Return for each key the first position with the same value, int64."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(keys)])
    first = np.empty(len(keys), dtype=np.int64)
    first[order] = np.repeat(order[starts], np.diff(np.append(starts, len(keys))))
    return first
