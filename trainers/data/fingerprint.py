"""Fingerprint of a run's data, taken without decoding images."""

import hashlib
import itertools
import json
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.parquet import is_parquet_folder
from dataset_scripts.parquet.manifest import Manifest
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.data.splits import resolve_source

ANNOTATIONS = ("image_id", "person_id", "captions", "camera")
ROWS_OF_STREAM = 256  # of a stream nothing more is read: it may have no end
ROWS_AT_A_TIME = 1000

logger = logging.getLogger(__name__)


def data_fingerprint(
    splits: Mapping[str, datasets.Dataset | datasets.IterableDataset], args: TwoStageTrainingArguments
) -> dict[str, dict[str, Any]]:
    """Count rows and hash each column and the images, by split.

    Image files count by name, size and modification time, images inside a table by their bytes, wherever the folder
    is. A stream counts by its first rows and its Parquet folder's record of shards.

    Args:
        splits: of the run.
        args: its settings.
    """
    found = {}
    for name, rows in splits.items():
        if isinstance(rows, datasets.IterableDataset):
            found[name] = _of_stream(rows, name, args)
        else:
            found[name] = _of_table(rows)
    return found


def check_same_data(before: object, now: Mapping[str, Mapping[str, Any]], place: Path) -> None:
    """Compare the fingerprint a run started with to the present one.

    Args:
        before: None if an earlier version kept none, which only warns.
        now: from [`data_fingerprint`].
        place: source of `before`, for the message.

    Raises ValueError: the data differ; the message names the split, and annotations or images.
    """
    if before is None:
        logger.warning(
            "%s has no fingerprint of the data, as of an earlier version: whether they are the same is unknown",
            place,
        )
        return
    if not isinstance(before, Mapping) or not all(isinstance(split, Mapping) for split in before.values()):
        raise ValueError(
            f"{place}: its fingerprint of the data is damaged; start the run again with overwrite_output_dir"
        )
    different = []
    for name in dict.fromkeys([*before, *now]):
        if name not in before or name not in now:
            different.append(f"the {name} split is only {'there' if name in before else 'here'}")
            continue
        columns = [
            column for column in ("rows", *ANNOTATIONS, "shards") if before[name].get(column) != now[name].get(column)
        ]
        if columns:
            different.append(f"annotations of the {name} split ({', '.join(columns)})")
        if not _same_images(before[name], now[name]):
            different.append(f"images of the {name} split")
    if different:
        raise ValueError(
            f"the run cannot resume with other data than {place} was made with; different: {'; '.join(different)}. "
            "Put the data back (images keep name, size and time under cp -a or rsync -a), or start the run again in "
            "another output_dir"
        )


def _same_images(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Compare images; times in whole seconds if one side has no finer ones, as after tar."""
    if before.get("images") == now.get("images"):
        return True
    return bool(now.get("whole_seconds")) and before.get("images_by_second") == now.get("images_by_second")


def _of_table(rows: datasets.Dataset) -> dict[str, Any]:
    columns = [column for column in (*ANNOTATIONS, "image") if column in rows.column_names]
    digests = {column: hashlib.sha256() for column in columns if column != "image"}
    images = _Images()
    with ThreadPoolExecutor(16) as pool:  # the time of a file on a network is waiting
        for batch in rows.select_columns(columns).with_format("arrow").iter(batch_size=ROWS_AT_A_TIME):
            for column, digest in digests.items():
                _absorb(digest, batch.column(column))
            if "image" in columns:
                images.add(batch.column("image"), pool)
    return {"rows": len(rows), **{name: digest.hexdigest() for name, digest in digests.items()}, **images.result()}


class _Images:
    """Hashes of the images of a split."""

    def __init__(self) -> None:
        self.exact, self.by_second = hashlib.sha256(), hashlib.sha256()
        self.whole_seconds = True

    def add(self, column: pa.ChunkedArray, pool: ThreadPoolExecutor) -> None:
        array = column.combine_chunks()
        if not pa.types.is_struct(array.type):
            _absorb(self.exact, array)
            return
        fields = {array.type.field(number).name for number in range(array.type.num_fields)}
        content = pc.struct_field(array, "bytes") if "bytes" in fields else pa.nulls(len(array), pa.binary())
        for digest in (self.exact, self.by_second):
            _absorb(digest, content)
        paths = pc.struct_field(array, "path").filter(content.is_null()) if "path" in fields else []
        for name, size, nanoseconds in pool.map(_file_state, [path.as_py() for path in paths], chunksize=64):
            self.exact.update(f"{name}\0{size}\0{nanoseconds}\n".encode())
            self.by_second.update(f"{name}\0{size}\0{nanoseconds // 10**9}\n".encode())
            self.whole_seconds &= nanoseconds % 10**9 == 0

    def result(self) -> dict[str, Any]:
        return {
            "images": self.exact.hexdigest(),
            "images_by_second": self.by_second.hexdigest(),
            "whole_seconds": self.whole_seconds,
        }


def _file_state(path: str | None) -> tuple[str, int, int]:
    """Return name, size and time of an image file; a missing one is left to its reader."""
    if path is None:
        return "", 0, 0
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return os.path.basename(path), -1, 0
    return os.path.basename(path), state.st_size, state.st_mtime_ns


def _of_stream(rows: datasets.IterableDataset, split: str, args: TwoStageTrainingArguments) -> dict[str, Any]:
    annotations, images = hashlib.sha256(), hashlib.sha256()
    for row in itertools.islice(rows.cast_column("image", datasets.Image(decode=False)), ROWS_OF_STREAM):
        annotations.update(json.dumps([row.get(column) for column in ANNOTATIONS]).encode() + b"\n")
        images.update(row["image"]["bytes"] or repr(_file_state(row["image"]["path"])).encode())
    found = {"rows": None, "image_id": annotations.hexdigest(), "images": images.hexdigest()}
    if shards := _shards(split, args):
        found["shards"] = shards
    return found


def _shards(split: str, args: TwoStageTrainingArguments) -> str:
    """Return a Parquet folder's record of a split's shards, or their sizes and times; empty without one."""
    folder = resolve_source(args.dataset, args.data_dir)[1]
    if folder is None or not is_parquet_folder(folder):
        return ""
    folder = Path(folder).expanduser()
    manifest = Manifest.read(folder)
    if manifest is not None:
        told = [(name, record.content_sha256) for name, record in manifest.shards_of(split).items() if record]
    else:
        told = [_file_state(str(path)) for path in sorted(folder.rglob(f"{split}*.parquet"))]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _absorb(digest: Any, array: pa.Array | pa.ChunkedArray) -> None:
    """Hash a column's values, independent of slices and buffers."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        digest.update(
            pc.list_value_length(array).fill_null(-1).cast(pa.int64()).to_numpy(zero_copy_only=False).tobytes()
        )
        _absorb(digest, array.flatten())
    elif pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        _absorb(digest, array.cast(pa.large_string()).cast(pa.large_binary()))
    elif pa.types.is_binary(array.type):
        _absorb(digest, array.cast(pa.large_binary()))
    elif pa.types.is_large_binary(array.type):
        digest.update(pc.binary_length(array).fill_null(-1).to_numpy(zero_copy_only=False).tobytes())
        present = array.drop_null()
        _, offsets, content = present.buffers()
        if content is not None and len(present):
            ends = np.frombuffer(offsets, np.int64)[present.offset : present.offset + len(present) + 1]
            digest.update(memoryview(content)[ends[0] : ends[-1]])
    elif pa.types.is_integer(array.type):
        digest.update(array.is_null().cast(pa.int8()).to_numpy(zero_copy_only=False).tobytes())
        digest.update(array.fill_null(0).cast(pa.int64()).to_numpy(zero_copy_only=False).tobytes())
    else:
        digest.update(json.dumps(array.to_pylist(), default=str).encode())


__all__ = ["check_same_data", "data_fingerprint"]
