"""Leaks between folders: training images that another folder holds out."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataset_scripts.formats.base import AnnotationFormat
from dataset_scripts.integrity.annotation_checks import read_annotation
from dataset_scripts.integrity.caption_lengths import CaptionLengths
from dataset_scripts.integrity.findings import Example, Findings
from dataset_scripts.integrity.image_checks import SeenImages
from dataset_scripts.integrity.image_rows import ImageRows, image_rows
from dataset_scripts.integrity.row_columns import NOT_READ, SPLITS
from dataset_scripts.leaks.guard import HashedImages, find_leaks_between
from dataset_scripts.leaks.image_hash import hash_files
from dataset_scripts.leaks.report import Leak

__all__ = ["check_leaks"]

logger = logging.getLogger(__name__)


class _Side(NamedTuple):
    name: str
    train: HashedImages
    held_out: HashedImages


def check_leaks(
    root: Path,
    rows: ImageRows,
    seen: SeenImages,
    others: Sequence[tuple[Path, AnnotationFormat]],
    findings: Findings,
) -> None:
    """Report training images that another folder holds out, in both directions.

    Args:
        root: the folder's images.
        rows: its annotation.
        seen: its usable images.
        others: folder and format of the other data sets.
        findings: receives the problems.

    Raises OSError: the annotation of another folder cannot be read.
    """
    if not others:
        return
    own = _side(rows, seen.rows, root)
    for folder, layout in others:
        other = _read_side(folder, layout)
        for first, second in ((own, other), (other, own)):
            leaks = find_leaks_between(first.train, second.held_out).leaks
            findings.add_all("leak", len(leaks), (_example(first.name, leak) for leak in leaks))


def _read_side(folder: Path, layout: AnnotationFormat) -> _Side:
    annotation = read_annotation(layout, folder, CaptionLengths(), Findings())
    if not annotation.complete:
        logger.warning("%s has wrong rows and is compared without them; check that folder too.", folder)
    rows = image_rows(annotation.columns, layout.identity_per_image, folder)
    return _side(rows, rows.images, folder / layout.image_folder)


def _side(rows: ImageRows, chosen: np.ndarray, root: Path) -> _Side:
    splits = rows.columns.splits[chosen]
    image_ids = rows.columns.image_ids(chosen)
    # Not the hashes of `check_images`: those of large JPEG files are made in another way.
    prints = hash_files([root / image_id for image_id in image_ids], os.cpu_count())
    names = [f"{SPLITS[split]} of {rows.folder.name}" for split in splits.tolist()]
    images = HashedImages(image_ids, rows.persons[chosen], names, prints)
    training = splits == SPLITS.index("train")
    held_out = ~training & (splits != NOT_READ)
    return _Side(rows.folder.name, images.select(np.flatnonzero(training)), images.select(np.flatnonzero(held_out)))


def _example(name: str, leak: Leak) -> Example:
    train = f"{leak.train_image_id} (train of {name}, person {leak.train_person_id})"
    held_out = f"{leak.image_id} ({leak.split}, person {leak.person_id})"
    return Example(f"{train} is {held_out}, by {' and '.join(leak.evidence)}")
