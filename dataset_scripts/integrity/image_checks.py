"""Check every image file of a set: present, complete, of the expected kind."""

import math
import os
import warnings
from array import array
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets.utils import tqdm

from dataset_scripts.builders.image_files import ImageFolder
from dataset_scripts.builders.near_files import NearFiles
from dataset_scripts.common.images import (
    IMAGE_SUFFIXES,
    ImageError,
    decode_image,
    ends_whole,
    is_rotated,
    open_image,
    read_image_file,
)
from dataset_scripts.integrity.findings import Example, Findings
from dataset_scripts.integrity.image_rows import ImageRows
from dataset_scripts.leaks.image_hash import ImagePrints, perceptual_hash
from dataset_scripts.leaks.image_signature import SIGNATURE_SHAPE, image_signature

__all__ = ["SeenImages", "check_images", "check_unnamed"]

# Decoding leaves Python's lock to others, the rest does not: beyond some, threads only wait for each other.
_MOST_THREADS = 8
# Images handed to the threads at a time: enough to keep them busy, few enough to forget.
IMAGES_AT_ONCE = 4096
# A picture of fewer pixels across, or of a longer shape, shows nobody; the smallest crops of the field have some 20.
_LEAST_SIDE, _LONGEST_SHAPE = 8, 10
_DIGEST_BYTES = 8
_HASH_BYTES = 16


class SeenImages(NamedTuple):
    """The usable images, for the search for duplicates."""

    rows: np.ndarray  # first row of each image, ascending, int64
    digests: np.ndarray  # hash of its file's bytes, int64
    prints: ImagePrints | None  # perceptual hashes; None if images were not decoded


class _Facts(NamedTuple):
    """A usable image: hash of bytes, Pillow's mode, size, rotated by EXIF, perceptual hash or b""."""

    digest: bytes
    mode: str
    size: tuple[int, int]
    rotated: bool
    prints: bytes


class _Fault(NamedTuple):
    kind: str
    details: str


def check_images(folder: ImageFolder, rows: ImageRows, decode: bool, findings: Findings) -> SeenImages:
    """Check each image file once and add its problems to `findings`.

    Args:
        folder: the images.
        rows: the annotation.
        decode: decode and hash each image; otherwise read only its header and end.
        findings: receives the problems.
    """
    sorter = _Sorter(rows, NearFiles(folder.path), findings)
    look = partial(_look, folder, decode)
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool,
        tqdm(total=len(rows.images), desc="Checking images", unit=" images", delay=2) as bar,
    ):
        # Pillow's remarks about metadata, among others; what matters of them is reported here.
        warnings.simplefilter("ignore")
        for start in range(0, len(rows.images), IMAGES_AT_ONCE):
            part = rows.images[start : start + IMAGES_AT_ONCE]
            image_ids = rows.columns.image_ids(part)
            for row, image_id, seen in zip(part.tolist(), image_ids, pool.map(look, image_ids), strict=True):
                sorter.take(row, image_id, seen)
            bar.update(len(part))
    sorter.report_missing_folders()
    return sorter.seen(decode)


class _Sorter:
    def __init__(self, rows: ImageRows, near: NearFiles, findings: Findings) -> None:
        self._image_rows = rows
        self._near = near
        self._findings = findings
        self._missing_folders: dict[str, int] = {}
        self._rows = array("q")
        self._digests = bytearray()
        self._prints = bytearray()

    def take(self, row: int, image_id: str, seen: _Facts | _Fault) -> None:
        if isinstance(seen, _Fault):
            near = self._near.find(image_id) if seen.kind in ("missing_folder", "missing_image") else None
            if near:
                self._report("misnamed_image", row, image_id, f"there is {near}")
            elif seen.kind == "missing_folder":
                self._missing_folders[seen.details] = self._missing_folders.get(seen.details, 0) + 1
            else:
                self._report(seen.kind, row, image_id, seen.details)
            return
        self._rows.append(row)
        self._digests += seen.digest
        self._prints += seen.prints
        if seen.mode != "RGB":
            self._report("odd_mode", row, image_id, seen.mode)
        if min(seen.size) < _LEAST_SIDE or max(seen.size) > _LONGEST_SHAPE * min(seen.size):
            self._report("odd_size", row, image_id, f"{seen.size[0]} x {seen.size[1]} pixels")
        if seen.rotated:
            self._report("rotated_image", row, image_id, "")

    def report_missing_folders(self) -> None:
        """Report each missing folder once, not once per image."""
        for folder, images in self._missing_folders.items():
            self._findings.add("missing_folder", f"{folder}/, images listed in it: {images:,}")

    def seen(self, decoded: bool) -> SeenImages:
        digests = np.frombuffer(self._digests, dtype=np.int64)
        prints = _as_prints(self._prints, len(digests)) if decoded else None
        return SeenImages(np.array(self._rows, dtype=np.int64), digests, prints)

    def _report(self, kind: str, row: int, image_id: str, details: str) -> None:
        text = f"{image_id} ({details})" if details else image_id
        self._findings.add_all(kind, 1, [self._image_rows.example(row, text)])


def _look(folder: ImageFolder, decode: bool, image_id: str) -> _Facts | _Fault:
    if folder.leads_out(image_id):
        return _Fault("link_out", "")
    missing = folder.missing_folder(image_id)
    if missing is not None:
        return _Fault("missing_folder", missing)
    try:
        data = read_image_file(folder.file(image_id))
        image = open_image(data, image_id)
        mode, rotated = image.mode, is_rotated(image, image_id)
        prints = b""
        if decode or mode.startswith("I") or not ends_whole(image, data):  # what 16 bits hold, only decoding tells
            picture = decode_image(image, image_id)
            if decode:
                prints = perceptual_hash(picture).tobytes() + image_signature(picture).tobytes()
    except ImageError as error:
        return _Fault(error.kind, error.fault)
    return _Facts(blake2b(data, digest_size=_DIGEST_BYTES).digest(), mode, image.size, rotated, prints)


def check_unnamed(root: Path, rows: ImageRows, findings: Findings) -> None:
    """Report pictures in the image folder that no row names, folder by folder."""
    named = np.sort(rows.columns.image_keys)
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = [name for name in names if name[0] != "." and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES]
        folder = os.path.relpath(place, root).replace(os.sep, "/")
        prefix = "" if folder == "." else f"{folder}/"
        keys = np.array([hash(prefix + name) for name in names], dtype=np.int64)
        found = np.searchsorted(named, keys)
        new = np.append(named, 0)[found] != keys
        new[found == len(named)] = True
        unnamed = sorted(np.array(names, dtype=object)[new].tolist())
        if unnamed:
            text = f"{prefix or './'}: {len(unnamed):,} of {len(names):,} pictures, first {unnamed[0]}"
            findings.add_all("unnamed_image", len(unnamed), [Example(text)])


def _as_prints(data: bytearray, images: int) -> ImagePrints:
    """Parse 16 bytes of hash and 36 x 12 of signature per image."""
    rows = np.frombuffer(data, dtype=np.uint8).reshape(images, _HASH_BYTES + math.prod(SIGNATURE_SHAPE))
    hashes = np.ascontiguousarray(rows[:, :_HASH_BYTES]).view(np.uint64)
    signatures = np.ascontiguousarray(rows[:, _HASH_BYTES:]).reshape(images, *SIGNATURE_SHAPE)
    return ImagePrints(hashes, signatures, np.ones(images, dtype=bool))
