"""The images of a person-search set: how they are decoded, and the checks that keep surprises out of training."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
from datasets.utils import tqdm
from PIL import Image

from dataset_scripts.annotations import PersonSearchRecord

__all__ = ["PersonImage", "check_image_files", "check_images_decode", "check_images_exist"]

_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
# What Pillow's decoders raise on damaged files: most OSError, PNG chunks SyntaxError, some headers the others.
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
_NAMES_SHOWN = 3


@dataclass
class PersonImage(datasets.Image):
    """The `datasets.Image` feature with two promises: what comes out is RGB, and a failure names the file.

    Grey, palette and CMYK images are converted; transparency is dropped (the colour stored under it shows); an EXIF
    rotation is applied. Images of more than 8 bits a channel are refused, since Pillow would clip them to white.
    Stored data are those of a plain `datasets.Image(mode="RGB")`, so a set that is pushed loads without this package.
    """

    def __post_init__(self):
        # Set here and not as another default, because `datasets` does not store fields that equal their default.
        self.mode = "RGB"

    def decode_example(self, value: dict, token_per_repo_id: dict | None = None) -> Image.Image:
        """Decodes `{"path": ..., "bytes": ...}` to an RGB image. Raises OSError that names the image and the fault."""
        name = value["path"] or "in the table"
        try:
            image = datasets.Image().decode_example(value, token_per_repo_id)
        except _DECODING_ERRORS as error:
            raise OSError(
                f"image {name} cannot be decoded ({error}). Restore it from the original archive."
            ) from error
        if image.mode not in _EIGHT_BIT_MODES:
            raise OSError(f"image {name} has Pillow mode {image.mode}, not 8 bits a channel. Save it as RGB.")
        return image.convert("RGB")


def check_image_files(file: Path, folder: Path, records: Sequence[PersonSearchRecord]) -> None:
    """Checks that every image of `records` (rows of the annotation `file`) is a file inside `folder`.

    Raises ValueError where a link leads out of `folder` (`folder` itself may be a link), and FileNotFoundError where
    files are missing; each counts them and names the first, with their rows.
    """
    root = os.path.realpath(folder)
    outside = [
        f"{record.image_id} (row {record.row})"
        for record in records
        if not os.path.realpath(os.path.join(root, record.image_id)).startswith(root + os.sep)
    ]
    if outside:
        raise ValueError(
            f"{file}: {len(outside)} image path(s) lead out of {folder} by a link, first {_first(outside)}. "
            "Copy the files into the folder; the folder as a whole may be a link."
        )
    missing = [
        f"{record.image_id} (row {record.row})"
        for record in records
        if not os.path.isfile(os.path.join(root, record.image_id))
    ]
    if missing:
        raise FileNotFoundError(
            f"{file}: {len(missing)} of {len(records)} images are not in {folder}, first {_first(missing)}. "
            "Restore them from the original archive, or remove their rows."
        )


def check_images_decode(file: Path, folder: Path, records: Sequence[PersonSearchRecord]) -> None:
    """Decodes every image of `records` once, as training will: a header says nothing of a file cut short.

    Runs once for each version of the annotation file, at some thousand images a second. Raises OSError that counts the
    images that fail, gives the first rows, and says what is wrong with the first image.
    """
    feature = PersonImage()
    faults: dict[int, OSError] = {}
    for record in tqdm(records, desc="Checking images", unit=" images", delay=2):
        try:
            feature.decode_example({"path": str(folder / record.image_id), "bytes": None})
        except OSError as error:
            faults[record.row] = error
    if faults:
        rows = _first([str(row) for row in faults])
        first = next(iter(faults.values()))
        raise OSError(
            f"{file}: {len(faults)} of {len(records)} images cannot be used, in row {rows}. The first: {first}"
        ) from first


def check_images_exist(paths: Iterable[str]) -> None:
    """Refuses a cached table whose image files have gone since it was built.

    Raises FileNotFoundError that counts the missing files and names the first.
    """
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} images of the data set have been moved or deleted, first {_first(missing)}. "
            "Put them back, or pass their new place as data_dir."
        )


def _first(items: Sequence[str]) -> str:
    """Joins the first few items."""
    return ", ".join(items[:_NAMES_SHOWN]) + (", ..." if len(items) > _NAMES_SHOWN else "")
