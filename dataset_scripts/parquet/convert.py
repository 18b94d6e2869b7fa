"""Convert a data set to Parquet shards: resumable, verified, reproducible."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import datasets
from datasets.utils import tqdm
from filelock import FileLock, Timeout

from dataset_scripts.builders.image_features import check_images_inside
from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES, PERSON_SEARCH_SPLITS
from dataset_scripts.common.files import remove_leftovers, replacing
from dataset_scripts.common.numbers import check_integer
from dataset_scripts.parquet.card import CARD, dataset_card
from dataset_scripts.parquet.manifest import MANIFEST, DataSource, Manifest, Settings, ShardRecord, SplitRecord
from dataset_scripts.parquet.processes import run_jobs
from dataset_scripts.parquet.rows import check_annotation, loaded_rows
from dataset_scripts.parquet.shards import RowHash, source_batches, verify_shard, write_shard

__all__ = ["convert_to_parquet"]

_DATA = "data"
_LOCK = ".lock"
_LARGEST_SIDE = 8192
_READER = 2


def convert_to_parquet(
    splits: Mapping[str, datasets.Dataset],
    folder: str | Path,
    *,
    source: str,
    image_size: tuple[int, int] | None = None,
    quality: int = 95,
    rows_per_shard: int = 5000,
    num_proc: int | None = None,
) -> Manifest:
    """Write `data/{split}-00000-of-00007.parquet`, `conversion.json` and the card `README.md`.

    `datasets.load_dataset(folder)` reads it without this package. After a kill, the same call continues after the
    finished shards and gives the same bytes (with the same version of pyarrow). Every shard is read back and compared
    with its rows; shards of an earlier call are also compared with the source.

    Args:
        splits: split -> rows of `PERSON_SEARCH_FEATURES`, as from `load_person_search(..., split=None)`.
        folder: created if missing; otherwise it must be empty or hold this same conversion.
        source: name of the set, for record and card; further facts come from `splits`.
        image_size: height and width in pixels; None stores image files unchanged. Otherwise all images are resized
            once by Pillow's bicubic filter, as in training, and saved as JPEG: scores differ slightly from those on
            the originals.
        quality: of those JPEG files, 1 to 100, full colour resolution.
        rows_per_shard: images per shard, 1 or more.
        num_proc: processes, 1 or more; None is 1. They are spawned, so a script that asks for more than 1 needs `if
            __name__ == "__main__":`.

    Returns:
        The record of the conversion.

    Raises:
        ValueError, TypeError: a value out of range, a missing column, an unknown or empty split, a row or person that
            loading would refuse, or a folder with a different conversion.
        FileExistsError: the folder holds something else.
        OSError: an image or file cannot be read or written, or verification failed.
    """
    _check_settings(image_size, quality, rows_per_shard, num_proc)
    for rows in splits.values():
        check_images_inside(rows)
    pieces = _pieces(splits, rows_per_shard)
    check_annotation({name: loaded_rows(rows, f"{source}, {name}") for name, rows in splits.items()})
    settings = Settings(
        image_size=tuple(image_size) if image_size else None,
        quality=quality if image_size else None,
        rows_per_shard=rows_per_shard,
        pyarrow=version("pyarrow"),
        pillow=version("pillow") if image_size else None,
        reader=_READER if image_size else 1,
    )
    wanted = Manifest(
        source=DataSource.from_info(source, next(iter(splits.values())).info),
        settings=settings,
        splits={name: _split_record(name, dataset) for name, dataset in splits.items()},
        shards=dict.fromkeys(pieces),
    )
    folder = Path(folder).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with _only_writer(folder):
        manifest = _begin_or_resume(folder, wanted)
        _convert(manifest, folder, pieces, num_proc or 1)
    return manifest


def _convert(manifest: Manifest, folder: Path, pieces: Mapping[str, datasets.Dataset], num_proc: int) -> None:
    jobs = {
        name: partial(_finished_shard, piece, folder / name, manifest.settings, manifest.shards[name])
        for name, piece in pieces.items()
    }
    with tqdm(total=sum(map(len, pieces.values())), desc="Converting", unit=" images", delay=2) as bar:
        for name, record in run_jobs(jobs, num_proc):
            if manifest.shards[name] is None:
                manifest.shards[name] = record
                manifest.write(folder)
            bar.update(record.rows)
    # A card that is there may have been edited since.
    if not manifest.complete or not (folder / CARD).is_file():
        with replacing(folder / CARD) as file:
            file.write(dataset_card(manifest).encode())
    if not manifest.complete:
        manifest.complete = True
        manifest.write(folder)


def _finished_shard(
    piece: datasets.Dataset, path: Path, settings: Settings, earlier: ShardRecord | None
) -> ShardRecord:
    record = earlier or write_shard(piece, path, settings.image_size, settings.quality)
    verify_shard(path, record, source=piece if earlier else None)
    return record


def _begin_or_resume(folder: Path, wanted: Manifest) -> Manifest:
    remove_leftovers(folder)
    data = folder / _DATA
    found = Manifest.read(folder)
    if found is None:
        if others := sorted(path.name for path in folder.iterdir() if path.name != _LOCK):
            raise FileExistsError(
                f"folder {folder} holds {others[0]} and no {MANIFEST}: it is no conversion. Name a new folder."
            )
        wanted.write(folder)
        data.mkdir()
        return wanted
    if different := found.differences(wanted):
        raise ValueError(
            f"folder {folder} holds another conversion: {'; '.join(different)}. Convert into a new folder, or delete "
            "this one first."
        )
    if found.shards.keys() != wanted.shards.keys():
        raise ValueError(f"{folder / MANIFEST} lists other shards than its rows make. Convert into a new folder.")
    data.mkdir(exist_ok=True)
    remove_leftovers(data)
    for name in found.shards:
        if not (folder / name).is_file():
            found.shards[name] = None
            found.complete = False
    return found


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Lock the folder against other conversions; the lock ends with the process."""
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise OSError(f"another process is converting into {folder}. Wait for it to end.") from error
    try:
        yield
    finally:
        lock.release()


def _pieces(splits: Mapping[str, datasets.Dataset], rows_per_shard: int) -> dict[str, datasets.Dataset]:
    """Cut the splits into shards: path in the folder -> rows."""
    pieces = {}
    for split, dataset in splits.items():
        if split not in PERSON_SEARCH_SPLITS:
            raise ValueError(f"split is {split!r}, but must be one of {', '.join(PERSON_SEARCH_SPLITS)}.")
        if missing := [column for column in PERSON_SEARCH_FEATURES if column not in dataset.column_names]:
            raise ValueError(f"the {split} split has no column {', '.join(missing)}. Load it by load_person_search.")
        if not len(dataset):
            raise ValueError(f"the {split} split has no rows. Leave it out.")
        count = math.ceil(len(dataset) / rows_per_shard)
        for number in range(count):
            rows = range(number * rows_per_shard, min((number + 1) * rows_per_shard, len(dataset)))
            pieces[f"{_DATA}/{split}-{number:05d}-of-{count:05d}.parquet"] = dataset.select(rows)
    if not pieces:
        raise ValueError("splits is empty. Give at least one split.")
    return pieces


def _split_record(name: str, dataset: datasets.Dataset) -> SplitRecord:
    annotation, persons, cameras, captions = RowHash(), set(), set(), 0
    batches = source_batches(dataset, images=False)
    rows = chain.from_iterable(batches)
    for row in tqdm(rows, total=len(dataset), desc=f"Reading {name}", unit=" rows", delay=2):
        annotation.update([row])
        persons.add(row["person_id"])
        captions += len(row["captions"])
        if row["camera"] is not None:
            cameras.add(row["camera"])
    return SplitRecord(len(persons), len(dataset), captions, len(cameras), annotation.hexdigest())


def _check_settings(
    image_size: tuple[int, int] | None, quality: int, rows_per_shard: int, num_proc: int | None
) -> None:
    check_integer("quality", quality, least=1, most=100)
    check_integer("rows_per_shard", rows_per_shard, least=1)
    if num_proc is not None:
        check_integer("num_proc", num_proc, least=1)
    if image_size is not None:
        if isinstance(image_size, int) or len(image_size) != 2:
            raise ValueError(f"image_size is {image_size!r}, but must be a height and a width in pixels, or None.")
        for name, side in zip(("height", "width"), image_size, strict=True):
            check_integer(f"image_size's {name}", side, least=1, most=_LARGEST_SIDE)
