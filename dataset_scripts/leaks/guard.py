"""Find training images that the same or another set holds out.

Sets of the field share sources: ICFG-PEDES and RSTPReid both come from MSMT17, and CUHK-PEDES has crops of
Market-1501, CUHK01 and CUHK03. Training on one and testing on the other may test on people seen in training.

    >>> report = find_leaks(train, {"rstp_reid test": test})
    >>> print(report.summary())
    >>> train = drop_leaks(train, report)

There are two kinds of evidence: the `name` (`source_names.py`), and the `picture` (`near_duplicates.py`), which also
finds copies that were renamed, re-encoded or resized. Not found are renamed copies that were also mirrored, turned,
padded or cropped by more than 1 %, and persons of whom the sets share no image. Adjacent video frames may count as one
picture; they show the same person, so this is a leak too.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import NamedTuple

import datasets
import numpy as np

from dataset_scripts.leaks.image_hash import ImagePrints, hash_dataset, hash_files
from dataset_scripts.leaks.near_duplicates import same_pictures
from dataset_scripts.leaks.report import Leak, LeakReport
from dataset_scripts.leaks.source_names import source_name

__all__ = [
    "HashedImages",
    "ImageFile",
    "LeakReport",
    "drop_leaks",
    "find_leaks",
    "find_leaks_between",
    "find_leaks_in_files",
    "hash_image_files",
]

_COLUMNS = ("image", "image_id", "person_id")


class ImageFile(NamedTuple):
    """An image file of a set that is not loaded."""

    image_id: str
    path: str | PathLike[str]
    person_id: int
    split: str


@dataclass(frozen=True, eq=False)
class HashedImages:
    """Hashed images, row by row."""

    image_ids: Sequence[str]  # their names, with or without folders
    person_ids: np.ndarray  # `(images,)`, int64
    splits: Sequence[str]  # the split of each, as reports shall name it
    prints: ImagePrints  # their hashes and signatures

    def select(self, rows: np.ndarray) -> "HashedImages":
        """Return some images, in the order of `rows`, `(rows,)`, int64."""
        image_ids, splits = ([values[row] for row in rows] for values in (self.image_ids, self.splits))
        return HashedImages(image_ids, self.person_ids[rows], splits, self.prints.select(rows))


def find_leaks(
    train: datasets.Dataset,
    held_out: datasets.Dataset | Mapping[str, datasets.Dataset],
    *,
    num_proc: int | None = None,
) -> LeakReport:
    """Compare a training set with held-out sets.

    `datasets` caches the hashes, so only the first call decodes images.

    Args:
        train: rows with `image`, `image_id` and `person_id`.
        held_out: the same columns, of one set or of several by the names for the report.
        num_proc: processes that hash, 1 or more; None for this one only.

    Raises ValueError: a column is missing, or `num_proc` is less than 1.
    """
    if isinstance(held_out, datasets.Dataset):
        held_out = {str(held_out.split or "held out"): held_out}
    others = [_hash_rows(dataset, name, num_proc) for name, dataset in held_out.items()]
    return find_leaks_between(_hash_rows(train, "train", num_proc), _concatenate(others))


def find_leaks_in_files(
    train: Sequence[ImageFile], held_out: Sequence[ImageFile], num_proc: int | None = None
) -> LeakReport:
    """Compare training image files with held-out ones.

    The `split` of a held-out image is how the report names it. Raises ValueError if `num_proc` is less than 1.
    """
    return find_leaks_between(hash_image_files(train, num_proc), hash_image_files(held_out, num_proc))


def find_leaks_between(train: HashedImages, held_out: HashedImages) -> LeakReport:
    """Compare images that are hashed already."""
    named, leaked = _same_names(train.image_ids, held_out.image_ids)
    pictures = same_pictures(train.prints, held_out.prints)
    # Of several pairs of a training image, the nearest: the last of equal keys stays in a dict.
    nearest_last = np.argsort(-pictures.distance.astype(np.int16), kind="stable")
    pictured = dict(zip(pictures.left[nearest_last].tolist(), pictures.right[nearest_last].tolist(), strict=True))
    leaked[pictures.right] = True
    leaks = tuple(
        _leak(train, held_out, row, named.get(row), pictured.get(row)) for row in sorted({*named, *pictured})
    )
    train_rows = np.array([leak.train_row for leak in leaks], np.int64)
    persons = np.unique(train.person_ids[train_rows])
    sizes = Counter(held_out.splits)
    counts = Counter(held_out.splits[row] for row in np.flatnonzero(leaked))
    return LeakReport(
        leaks=leaks,
        train_images=len(train.image_ids),
        train_rows=train_rows,
        train_person_ids=persons,
        person_rows=np.flatnonzero(np.isin(train.person_ids, persons)),
        held_out_images=dict(sizes),
        leaked_images={split: counts[split] for split in sizes},
        not_compared=sum(int((~side.prints.distinctive).sum()) for side in (train, held_out)),
    )


def drop_leaks(train: datasets.Dataset, report: LeakReport, by: str = "persons") -> datasets.Dataset:
    """Return the training set without its leaks.

    Args:
        train: the set that was compared.
        report: the result of `find_leaks`.
        by: `persons` drops all images of leaking persons, `images` only the leaking images; see
            `LeakReport.rows_to_drop`.

    Raises ValueError: another `by`, a report about another set, or nothing is left.
    """
    rows = report.rows_to_drop(by)
    if len(train) != report.train_images:
        raise ValueError(
            f"the report is about {report.train_images} training images, but train has {len(train)}. Compare this set."
        )
    if not len(rows):
        return train
    if len(rows) == len(train):
        raise ValueError(f"all {len(train)} training images leak. Train on another set, or test on another one.")
    return train.select(np.setdiff1d(np.arange(len(train)), rows))


def hash_image_files(files: Sequence[ImageFile], num_proc: int | None = None) -> HashedImages:
    """Hash image files; raise ValueError if `num_proc` is less than 1."""
    return HashedImages(
        [file.image_id for file in files],
        np.array([file.person_id for file in files], np.int64),
        [file.split for file in files],
        hash_files([file.path for file in files], num_proc),
    )


def _hash_rows(dataset: datasets.Dataset, name: str, num_proc: int | None) -> HashedImages:
    for column in _COLUMNS:
        if column not in dataset.column_names:
            raise ValueError(f"the set {name} has no column {column!r}, only {dataset.column_names}. Add it.")
    table = dataset.select_columns(["image_id", "person_id"]).with_format("arrow")[:]
    image_ids, person_ids = table["image_id"].to_pylist(), table["person_id"].to_numpy()
    return HashedImages(image_ids, person_ids, [name] * len(dataset), hash_dataset(dataset, num_proc))


def _concatenate(parts: Sequence[HashedImages]) -> HashedImages:
    return HashedImages(
        [image_id for part in parts for image_id in part.image_ids],
        np.concatenate([np.zeros(0, np.int64), *(part.person_ids for part in parts)]),
        [split for part in parts for split in part.splits],
        ImagePrints.concatenate(part.prints for part in parts),
    )


def _same_names(train: Sequence[str], held_out: Sequence[str]) -> tuple[dict[int, int], np.ndarray]:
    """Match names: training row -> first held-out row; mask of matched held-out rows."""
    train_names = [source_name(image_id) for image_id in train]
    held_out_names = [source_name(image_id) for image_id in held_out]
    rows = {name: row for row, name in reversed(list(enumerate(held_out_names))) if name is not None}
    known = set(train_names) - {None}
    shared = np.array([name in known for name in held_out_names], bool)
    return {row: rows[name] for row, name in enumerate(train_names) if name in rows}, shared


def _leak(train: HashedImages, held_out: HashedImages, row: int, named: int | None, pictured: int | None) -> Leak:
    other = named if pictured is None else pictured
    distance = None
    if train.prints.readable[row] and held_out.prints.readable[other]:
        distance = int(np.bitwise_count(train.prints.hashes[row] ^ held_out.prints.hashes[other]).sum())
    return Leak(
        train_row=row,
        train_image_id=train.image_ids[row],
        train_person_id=int(train.person_ids[row]),
        split=held_out.splits[other],
        image_id=held_out.image_ids[other],
        person_id=int(held_out.person_ids[other]),
        evidence=("name",) * (named is not None) + ("picture",) * (pictured is not None),
        distance=distance,
    )
