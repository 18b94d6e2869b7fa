"""Load a converted set from its folder, as a table or streamed."""

from collections.abc import Sequence
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.dataset as pds
import pyarrow.parquet as pq
from datasets.data_files import DataFilesDict, DataFilesList
from datasets.exceptions import DatasetsError

from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES, split_hint
from dataset_scripts.parquet.builder import PersonSearchParquet
from dataset_scripts.parquet.columns import Rows, Splits, check_schema, with_features
from dataset_scripts.parquet.manifest import MANIFEST, Manifest
from dataset_scripts.parquet.rows import check_annotation, shard_rows
from dataset_scripts.parquet.shard_names import named_shards
from dataset_scripts.parquet.shards import check_file

__all__ = ["checked_shards", "is_parquet_folder", "load_parquet"]

_AGAIN = "Run prompt-clip data convert again, or copy the folder again."


def is_parquet_folder(folder: str | Path) -> bool:
    """Whether `folder` holds a conversion, finished or not, or shards named by split."""
    folder = Path(folder).expanduser()
    try:
        return (folder / MANIFEST).is_file() or bool(named_shards(folder))
    except ValueError:
        return True  # of others, with a name that loading refuses in words


def load_parquet(
    folder: str | Path | None,
    split: str | None = None,
    *,
    streaming: bool = False,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
) -> Rows | Splits:
    """Load a folder made by `prompt-clip data convert`, or others' with its columns.

    Others' files are named `train-00000-of-00002.parquet` or `train.parquet`, or lie in a folder of such a name;
    `val`, `valid` and `dev` mean `validation`. Rows are checked like those of folders: ids, captions, no person in two
    splits and, in others' files, no image of two persons. Paths and URLs in rows are never opened:
    `check_images_inside` names a row without bytes. A table is built from shards that match their SHA-256, and rebuilt
    once one is touched; a stream checks sizes and row counts first, and page checksums while reading.

    Args:
        folder: the folder.
        split: `train`, `validation` or `test`; None for all.
        streaming: read rows on demand, in the same order, without a table.
        cache_dir: where tables are kept; by default the cache of `datasets`.
        num_proc: processes that build a table, at most one a shard.

    Returns:
        A `Dataset`, or an `IterableDataset` if streamed, of `PERSON_SEARCH_FEATURES`; a dict for `split=None`.

    Raises:
        ValueError: an unknown split, a missing or wrong column, no rows, an invalid row, an unfinished conversion.
        OSError: the folder or a shard is missing, damaged or changed.
    """
    folder, manifest, shards = _checked(folder)
    if split is not None and split not in shards:
        raise ValueError(f"{folder} has no split {split!r}, but {', '.join(shards)}.{split_hint(split, shards)}")
    loaded = {
        name: _load_split(name, files, manifest, streaming, cache_dir, num_proc)
        for name, files in shards.items()
        if split in (None, name)
    }
    if split is not None:
        return loaded[split]
    return datasets.IterableDatasetDict(loaded) if streaming else datasets.DatasetDict(loaded)


def checked_shards(folder: str | Path) -> dict[str, list[Path]]:
    """Return the shards by split, checked as for loading; errors as `load_parquet`."""
    _, manifest, shards = _checked(folder)
    if manifest is not None:
        for split, files in shards.items():
            for file, record in zip(files, manifest.shards_of(split).values(), strict=True):
                check_file(file, record)
    return shards


def _checked(folder: str | Path | None) -> tuple[Path, Manifest | None, dict[str, list[Path]]]:
    """Return folder, record and shards by split, with names, columns and rows checked."""
    if folder is None:
        raise ValueError("parquet needs data_dir, but it is None. Pass the folder that prompt-clip data convert made.")
    folder = Path(folder).expanduser().absolute()
    if not folder.is_dir():
        raise FileNotFoundError(f"data_dir {folder} is no folder. Pass the one that prompt-clip data convert made.")
    manifest = Manifest.read(folder)
    shards = named_shards(folder) if manifest is None else _recorded_shards(folder, manifest)
    if not shards:
        if other := next(folder.rglob("*.parquet"), None):
            raise FileNotFoundError(
                f"{folder} has {other.relative_to(folder)}, which is named after no split. Name it train-..., "
                "validation-... or test-...: a file's name, or its folder's, begins with the split."
            )
        raise FileNotFoundError(
            f"{folder} has no Parquet file of a split, such as data/train-00000-of-00001.parquet. {_AGAIN}"
        )
    for file in (file for files in shards.values() for file in files):
        metadata = _metadata(file)
        check_schema(metadata.schema.to_arrow_schema(), str(file))
        if not metadata.num_rows:
            raise ValueError(f"{file} has no rows. Remove the file.")
    # Also of what this package converted: an earlier version, or by a record that was edited.
    check_annotation({name: shard_rows(files) for name, files in shards.items()}, images_once=manifest is not None)
    return folder, manifest, shards


def _recorded_shards(folder: Path, manifest: Manifest) -> dict[str, list[Path]]:
    if not manifest.complete:
        missing = sum(record is None for record in manifest.shards.values())
        raise ValueError(
            f"the conversion into {folder} is not finished: {missing} of {len(manifest.shards)} shards are missing. "
            "Run prompt-clip data convert again: it resumes where it stopped."
        )
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")}
    if unknown := sorted(present.difference(manifest.shards)):
        raise ValueError(f"{folder} holds {unknown[0]}, which {MANIFEST} does not list. Move it elsewhere.")
    for name, record in manifest.shards.items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"shard {path} is missing. {_AGAIN}")
        if path.stat().st_size != record.file_bytes or _metadata(path).num_rows != record.rows:
            raise OSError(f"shard {path} has changed since it was written. {_AGAIN}")
    return {split: [folder / name for name in manifest.shards_of(split)] for split in manifest.splits}


def _load_split(
    name: str,
    files: Sequence[Path],
    manifest: Manifest | None,
    streaming: bool,
    cache_dir: str | Path | None,
    num_proc: int | None,
) -> Rows:
    builder = PersonSearchParquet(
        cache_dir=cache_dir and str(cache_dir),
        dataset_name="person_search_parquet",
        # Given as patterns, a bracket in a folder's name would not stand for itself.
        data_files=DataFilesDict({name: DataFilesList([str(file) for file in files], _states(files))}),
        columns=list(PERSON_SEARCH_FEATURES),
        features=PERSON_SEARCH_FEATURES.copy(),
        fragment_scan_options=pds.ParquetFragmentScanOptions(page_checksum_verification=True),
    )
    builder.refuse_outside = streaming
    if streaming:
        return _with_source(with_features(builder.as_streaming_dataset(name), name), manifest)
    if manifest is not None and not Path(builder.cache_dir).exists():
        for file, record in zip(files, manifest.shards_of(name).values(), strict=True):
            check_file(file, record)
    try:
        builder.download_and_prepare(num_proc=num_proc)
    except DatasetsError as error:
        raise OSError(f"the table of {files[0].parent} cannot be built: {error.__cause__ or error}") from error
    parts = [(f"shard {file}", _metadata(file).num_rows) for file in files]
    return _with_source(with_features(builder.as_dataset(name), name, parts), manifest)


def _with_source(rows: Rows, manifest: Manifest | None) -> Rows:
    """Restore the source's facts in `rows.info`: its terms bind further copies too."""
    if manifest is not None:
        manifest.source.write_info(rows.info)
    return rows


def _states(files: Sequence[Path]) -> list[tuple[str]]:
    """Return each file's state for the cache key of `datasets`.

    It includes the inode's change time, which copying tools and editors cannot reset.
    """
    stats = [file.stat() for file in files]
    return [(f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}",) for stat in stats]


def _metadata(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (OSError, pa.ArrowInvalid) as error:
        if not file.is_file():
            raise FileNotFoundError(f"shard {file} is a folder, or a link to nothing. {_AGAIN}") from error
        raise OSError(f"shard {file} is damaged ({error}). {_AGAIN}") from error
