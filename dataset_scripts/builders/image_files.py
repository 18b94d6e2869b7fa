"""Checks on the image files of a set's folder."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from datasets.utils import tqdm

from dataset_scripts.annotations.records import PersonSearchRecord
from dataset_scripts.builders.near_files import NearFiles
from dataset_scripts.common.images import ImageError, decode_image, open_image, read_image_file

__all__ = [
    "BadImage",
    "ImageFolder",
    "check_image_links",
    "check_images_exist",
    "find_bad_images",
    "refuse_bad_images",
]

_NAMES_SHOWN = 3
# Images submitted to the threads at once: enough to keep them busy, few enough for memory.
_AT_ONCE = 4096


class ImageFolder:
    """The folder of a set's images; caches what it learns about subfolders.

    Args:
        folder: may be a link itself, but links inside must not lead out.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = str(folder)
        self._root = os.path.realpath(folder)
        self._real_folders: dict[str, str] = {}
        self._missing_folders: dict[str, str | None] = {}

    def file(self, image_id: str) -> str:
        """Return the path of an image."""
        return os.path.join(self.path, image_id)

    def leads_out(self, image_id: str) -> bool:
        """Whether a link takes the path of an image out of the folder."""
        folder, _, name = image_id.rpartition("/")
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(os.path.join(self._root, folder))
        file = os.path.join(self._real_folders[folder], name)
        if os.path.islink(file):
            file = os.path.realpath(file)
        return not file.startswith(self._root.rstrip(os.sep) + os.sep)

    def missing_folder(self, image_id: str) -> str | None:
        """Return the first missing folder on an image's path, relative; None if complete."""
        folder = image_id.rpartition("/")[0]
        if folder not in self._missing_folders:
            steps = folder.split("/")
            parents = ("/".join(steps[: count + 1]) for count in range(len(steps)))
            missing = (parent for parent in parents if not os.path.isdir(os.path.join(self._root, parent)))
            self._missing_folders[folder] = next(missing, None)
        return self._missing_folders[folder]


@dataclass(frozen=True, slots=True)
class BadImage:
    """An image that cannot be used."""

    record: PersonSearchRecord  # the row that names it
    kind: str  # key in `dataset_scripts.annotations.problems.PROBLEMS`
    reason: str  # a sentence with the file and the remedy


def check_image_links(folder: Path, records: Sequence[PersonSearchRecord]) -> None:
    """Raise ValueError if links lead from `folder` to images elsewhere."""
    images = ImageFolder(folder)
    outside = [f"{record.image_id} (row {record.row})" for record in records if images.leads_out(record.image_id)]
    if outside:
        raise ValueError(
            f"{records[0].file}: {len(outside)} image path(s) leave {folder} through a link, first "
            f"{_list_first(outside)}. Copy the files into the folder (from the Hub: hf download --local-dir DIR); the "
            "folder as a whole may be a link."
        )


def find_bad_images(folder: Path, records: Sequence[PersonSearchRecord], threads: int | None = None) -> list[BadImage]:
    """Decode every image once, as training will; headers miss truncated files.

    Args:
        folder: the image folder.
        records: the rows.
        threads: images decoded at once; None for one per core.
    """
    images = ImageFolder(folder)

    def fault(record: PersonSearchRecord) -> BadImage | None:
        path = images.file(record.image_id)
        try:
            decode_image(open_image(read_image_file(path), path), path)
        except ImageError as error:
            return BadImage(record, error.kind, str(error))
        return None

    bad: list[BadImage] = []
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        bar = tqdm(total=len(records), desc="Checking images", unit=" images", delay=2)
        for start in range(0, len(records), _AT_ONCE):
            part = records[start : start + _AT_ONCE]
            bad.extend(filter(None, pool.map(fault, part)))
            bar.update(len(part))
        bar.close()
    near = NearFiles(folder)
    return [_with_near_file(image, near) if image.kind == "missing_image" else image for image in bad]


def _with_near_file(image: BadImage, near: NearFiles) -> BadImage:
    found = near.find(image.record.image_id)
    if found is None:
        return image
    reason = f"{image.record.image_id} is missing, but there is {found}. Rename the file, or correct the path."
    return BadImage(image.record, "misnamed_image", reason)


def refuse_bad_images(bad: Sequence[BadImage], total: int) -> None:
    """Raise an error for unusable images, if any.

    Raises:
        FileNotFoundError: images are missing.
        OSError: images cannot be decoded.
    """
    if not bad:
        return
    missing = [image for image in bad if image.kind in ("missing_image", "misnamed_image")]
    chosen, kind = (missing, FileNotFoundError) if missing else (bad, OSError)
    first = chosen[0]
    rows = _list_first([f"{image.record.image_id} (row {image.record.row})" for image in chosen])
    what = "are not in the image folder" if missing else "cannot be used"
    raise kind(
        f"{first.record.file}: {len(chosen)} of {total} images {what}, first {rows}. The first: {first.reason} "
        "To leave such images out, set on_bad_image='skip'."
    )


def check_images_exist(paths: Iterable[str]) -> None:
    """Raise FileNotFoundError if image files of a cached table are gone."""
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} images of the data set have been moved or deleted, first {_list_first(missing)}. "
            "Put them back, or pass their new folder as data_dir."
        )


def _list_first(items: Sequence[str]) -> str:
    return ", ".join(items[:_NAMES_SHOWN]) + (", ..." if len(items) > _NAMES_SHOWN else "")
