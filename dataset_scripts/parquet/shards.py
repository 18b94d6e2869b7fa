"""Write a data set's rows to one Parquet shard, and read it back."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from dataset_scripts.builders.image_features import PersonImage
from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES
from dataset_scripts.common.files import replacing
from dataset_scripts.common.images import decode_image, open_image, read_image_file
from dataset_scripts.parquet.manifest import ShardRecord

__all__ = ["RowHash", "source_batches", "verify_shard", "write_shard"]

_ANNOTATION_COLUMNS = ("image_id", "person_id", "captions", "camera")
# Rows in memory at a time, and in a row group, which a reader fetches for one row. `datasets` has the same for images.
_ROWS_PER_GROUP = 100
_AGAIN = "Delete it and run prompt-clip data convert again: the other shards stay."


class RowHash:
    """SHA-256 of rows: image bytes, image_id, person_id, captions, camera, in order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add rows, with or without `image`."""
        for row in rows:
            image = row["image"]["bytes"] if "image" in row else b""
            # JSON says where each text ends, so that nothing can move from one field to the next unnoticed.
            fields = [len(image), *(row[column] for column in _ANNOTATION_COLUMNS)]
            self._digest.update(json.dumps(fields).encode() + b"\n")
            self._digest.update(image)

    def hexdigest(self) -> str:
        """Return the hash so far, 64 hexadecimal digits."""
        return self._digest.hexdigest()


def source_batches(dataset: datasets.Dataset, images: bool = True) -> Iterator[list[dict[str, Any]]]:
    """Yield rows in lists of at most 100, images as undecoded file bytes.

    Args:
        dataset: rows of `PERSON_SEARCH_FEATURES`; other columns are ignored.
        images: False omits the images and reads no file.

    Raises:
        ValueError: a row without an image.
        OSError: an image file cannot be read or decoded.
    """
    columns = [*_ANNOTATION_COLUMNS, "image"] if images else list(_ANNOTATION_COLUMNS)
    for batch in dataset.select_columns(columns).with_format("arrow").iter(batch_size=_ROWS_PER_GROUP):
        rows = batch.to_pylist()
        yield [{**row, "image": _embedded(row)} for row in rows] if images else rows


def write_shard(
    dataset: datasets.Dataset, path: Path, image_size: tuple[int, int] | None, quality: int | None
) -> ShardRecord:
    """Write all rows of `dataset` to the Parquet file `path`, atomically.

    Args:
        dataset: the rows of this shard.
        path: the file.
        image_size: height and width to resize to; None stores files unchanged.
        quality: of resized JPEG files, 1 to 100; None if nothing is resized.

    Raises ValueError, OSError: as `source_batches`; the file cannot be written.
    """
    source, content = RowHash(), RowHash()
    rows = table_bytes = 0
    with replacing(path) as file, _writer(file) as writer:
        for batch in source_batches(dataset):
            source.update(batch)
            stored = batch if image_size is None else [_resized(row, image_size, quality) for row in batch]
            content.update(stored)
            table = pa.Table.from_pylist(stored, schema=PERSON_SEARCH_FEATURES.arrow_schema)
            writer.write_table(table)
            rows += table.num_rows
            table_bytes += table.nbytes
    return ShardRecord(
        rows, path.stat().st_size, table_bytes, file_sha256(path), source.hexdigest(), content.hexdigest()
    )


def verify_shard(path: Path, record: ShardRecord, source: datasets.Dataset | None = None) -> None:
    """Read a shard back and compare it with its record.

    Args:
        path: the file.
        record: what it must hold.
        source: its rows, to be compared again if the shard is from an earlier call.

    Raises OSError: the shard or the source's image files have changed.
    """
    check_file(path, record)
    content, rows = RowHash(), 0
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for batch in file.iter_batches(batch_size=_ROWS_PER_GROUP):
            content.update(batch.to_pylist())
            rows += batch.num_rows
    if (rows, content.hexdigest()) != (record.rows, record.content_sha256):
        raise OSError(f"shard {path} does not hold the rows that were written to it. {_AGAIN}")
    if source is not None:
        before = RowHash()
        for batch in source_batches(source):
            before.update(batch)
        if before.hexdigest() != record.source_sha256:
            raise OSError(
                f"image files of the source have changed since shard {path} was made of them. Put the old ones back, "
                "or convert into a new folder."
            )


def check_file(path: Path, record: ShardRecord) -> None:
    """Compare a shard's size and SHA-256 with its record; raise OSError if they differ."""
    if not path.is_file():
        raise FileNotFoundError(f"shard {path} is missing. Run prompt-clip data convert again to write it.")
    if path.stat().st_size != record.file_bytes or file_sha256(path) != record.sha256:
        raise OSError(f"shard {path} has changed since it was written. {_AGAIN}")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _writer(file: object) -> pq.ParquetWriter:
    """Open a writer with page checksums and content-defined pages: small edits upload little."""
    return pq.ParquetWriter(
        file,
        PERSON_SEARCH_FEATURES.arrow_schema,
        write_page_checksum=True,
        write_page_index=True,
        use_content_defined_chunking=True,
    )


def _embedded(row: dict[str, Any]) -> dict[str, Any]:
    """Return an image as bytes, with its image_id for messages on any machine."""
    image = row["image"]
    if image is None:
        raise ValueError(f"the row of image_id {row['image_id']!r} has no image. Remove the row from the source.")
    content = read_image_file(image["path"]) if image["bytes"] is None else image["bytes"]
    # Nothing that is no picture goes into a set, and from there to the Hub.
    decode_image(open_image(content, row["image_id"]), row["image_id"])
    return {"bytes": content, "path": row["image_id"]}


def _resized(row: dict[str, Any], image_size: tuple[int, int], quality: int | None) -> dict[str, Any]:
    height, width = image_size
    image = PersonImage().decode_example(row["image"]).resize((width, height), Image.Resampling.BICUBIC)
    buffer = BytesIO()
    # A comment in the source's file may say anything about its origin; it is no part of the picture.
    image.save(buffer, "JPEG", quality=quality, subsampling=0, comment=b"")
    return {**row, "image": {**row["image"], "bytes": buffer.getvalue()}}
