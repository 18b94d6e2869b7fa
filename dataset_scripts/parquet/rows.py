"""Row checks of Parquet and Hub sets, the same as for folders."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.utils import tqdm

from dataset_scripts.annotations.records import PersonSearchRecord, check_identities, merge_rows
from dataset_scripts.annotations.rows import AnnotationError, AnnotationRow

__all__ = ["check_annotation", "loaded_rows", "shard_batches", "shard_rows"]

COLUMNS = ("image_id", "person_id", "captions", "camera")
_ROWS_AT_ONCE = 1000


def check_annotation(splits: Mapping[str, Iterable[AnnotationRow]], *, images_once: bool = False) -> None:
    """Check all fields, one split per person and one person per image.

    Args:
        splits: split -> rows.
        images_once: each image is known to have one row: skips a comparison that takes memory for all rows.

    Raises AnnotationError: an invalid row.
    """
    rows = (_record(row, split) for split, found in splits.items() for row in found)
    rows = tqdm(rows, desc="Checking rows", unit=" rows", delay=2)
    check_identities(rows if images_once else merge_rows(rows))


def shard_rows(files: Iterable[Path]) -> Iterator[AnnotationRow]:
    """Yield the rows of shards without images.

    Raises AnnotationError for text that is not UTF-8, OSError for a damaged shard.
    """
    for file in files:
        number = 0
        for batch in shard_batches(file, COLUMNS, _ROWS_AT_ONCE):
            for fields in _rows_of(batch, file, number):
                yield AnnotationRow(file, number, fields, number)
                number += 1


def shard_batches(file: Path, columns: Iterable[str], rows_at_once: int) -> Iterator[pa.RecordBatch]:
    """Yield a shard's rows in batches; raise OSError, which names it, if it is damaged."""
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as shard:
            yield from shard.iter_batches(batch_size=rows_at_once, columns=list(columns))
    except (OSError, pa.ArrowInvalid) as error:
        raise OSError(f"shard {file} is damaged ({error}). Copy it again from its source.") from error


def loaded_rows(rows: datasets.Dataset | datasets.IterableDataset, where: str) -> Iterator[AnnotationRow]:
    """Yield the rows of a loaded split without images."""
    number = 0
    for batch in rows.select_columns(list(COLUMNS)).iter(batch_size=_ROWS_AT_ONCE):
        for values in zip(*(batch[column] for column in COLUMNS), strict=True):
            fields: dict[str, Any] = dict(zip(COLUMNS, values, strict=True))
            yield AnnotationRow(Path(where), number, fields, number)
            number += 1


def _rows_of(batch: pa.RecordBatch, file: Path, first: int) -> list[dict[str, Any]]:
    try:
        return batch.to_pylist()
    except UnicodeDecodeError as error:
        for row in range(batch.num_rows):
            for name in batch.schema.names:
                try:
                    batch.column(name)[row].as_py()
                except UnicodeDecodeError as fault:
                    message = f"{name!r} is not UTF-8 ({fault.reason}). Write the file again from the source's text."
                    raise AnnotationError("bad_text", file, first + row, message) from error
        raise


def _record(row: AnnotationRow, split: str) -> PersonSearchRecord:
    image_id = row.text("image_id")
    if image_id is None:
        raise row.error("bad_field", "image_id", "it must name the image. Give each image a name of its own.")
    captions = row.captions("captions")
    return PersonSearchRecord(
        row.file, row.index, split, image_id, row.person_id("person_id"), captions, row.text("camera")
    )
