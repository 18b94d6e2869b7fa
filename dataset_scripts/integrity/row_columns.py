"""Annotation rows as compact columns, without the caption text."""

from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from dataset_scripts.builders.schema import PERSON_SEARCH_SPLITS

__all__ = ["NOT_READ", "SPLITS", "RowColumns"]

SPLITS = PERSON_SEARCH_SPLITS
NOT_READ = -1
"""In a column: the field of this row could not be read."""

_FLUSH = 1 << 16


class RowColumns:
    """Columns with one value per row whose image could be read.

    Images and captions are compared by 64-bit hashes: among a million, a collision has a probability below one in ten
    million.
    """

    def __init__(self) -> None:
        self._image_ids: list[str] = []
        self._image_chunks: list[pa.Array] = []
        self._image_keys = array("q")
        self._persons = array("q")
        self._splits = array("b")
        self._files: dict[Path, int] = {}
        self._file_of = array("H")
        self._index_in_file = array("Q")
        self._caption_keys = array("q")
        self._caption_rows = array("Q")

    def __len__(self) -> int:
        return len(self._image_keys)

    def add(
        self,
        file: Path,
        index: int,
        image_id: str,
        person_id: int | None,
        split: str | None,
        captions: Sequence[str],
    ) -> None:
        """Add a row; None marks a person or split that could not be read."""
        row = len(self)
        self._image_ids.append(image_id)
        self._image_keys.append(hash(image_id))
        self._persons.append(NOT_READ if person_id is None else person_id)
        self._splits.append(NOT_READ if split is None else SPLITS.index(split))
        self._file_of.append(self._files.setdefault(file, len(self._files)))
        self._index_in_file.append(index)
        for caption in captions:
            self._caption_keys.append(hash(caption))
            self._caption_rows.append(row)
        if len(self._image_ids) == _FLUSH:
            self._flush()

    @property
    def image_keys(self) -> np.ndarray:
        """Hash of each row's image, int64."""
        return np.frombuffer(self._image_keys, dtype=np.int64)

    @property
    def persons(self) -> np.ndarray:
        """Person id of each row, int64, or `NOT_READ`."""
        return np.frombuffer(self._persons, dtype=np.int64)

    @property
    def splits(self) -> np.ndarray:
        """Position in `SPLITS` of each row's split, int8, or `NOT_READ`."""
        return np.frombuffer(self._splits, dtype=np.int8)

    @property
    def caption_keys(self) -> np.ndarray:
        """Hash of each caption, int64."""
        return np.frombuffer(self._caption_keys, dtype=np.int64)

    @property
    def caption_rows(self) -> np.ndarray:
        """The row of each caption, int64, ascending."""
        return np.frombuffer(self._caption_rows, dtype=np.int64)

    def image_ids(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """Return the images of some rows."""
        self._flush()
        chunks = pa.chunked_array(self._image_chunks, type=pa.large_string())
        return chunks.take(pa.array(rows, type=pa.int64())).to_pylist()

    def place(self, row: int) -> tuple[Path, int]:
        """Return the annotation file of a row and its position, counted from 0."""
        return list(self._files)[self._file_of[row]], self._index_in_file[row]

    def _flush(self) -> None:
        if self._image_ids:
            self._image_chunks.append(pa.array(self._image_ids, type=pa.large_string()))
            self._image_ids.clear()
