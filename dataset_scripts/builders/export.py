"""Writing the images of a data set to a plain folder, as a gallery to search in."""

import re
from collections import Counter
from pathlib import Path

import datasets
from datasets.utils import tqdm

from dataset_scripts.common.files import new_folder

__all__ = ["export_images"]


def export_images(dataset: datasets.Dataset, folder: str | Path, limit: int | None = None) -> list[Path]:
    """Writes the first `limit` images (None: all) as `{person_id:05d}_{camera or 'c0'}_{n}.jpg`.

    `n` counts the images of a person in a camera from 0; characters of a camera name other than letters, digits and
    hyphens become hyphens. The folder appears whole or not at all: it is filled under another name beside its place.

    Args:
        dataset: rows with `image`, `person_id` and `camera`.
        folder: must not exist, or be empty; missing parents are made.
        limit: 1 or more, or None.

    Returns:
        The files, in the order of the rows.

    Raises:
        ValueError: `limit` is less than 1.
        FileExistsError: `folder` exists and holds something.
        OSError: an image cannot be decoded (its name is in the message), or a file not written.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}, but must be 1 or more, or None for all images.")
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"folder {folder} exists and is not empty. Name another one, or delete it first.")
    rows = dataset if limit is None else dataset.select(range(min(limit, len(dataset))))
    with new_folder(folder, replace_empty=True) as filling:
        names = _write_images(rows, filling)
    return [folder / name for name in names]


def _write_images(dataset: datasets.Dataset, folder: Path) -> list[str]:
    """Writes every row's image into `folder`. Returns the file names, in the order of the rows."""
    seen: Counter[str] = Counter()
    names = []
    for row in tqdm(dataset, desc="Exporting images", unit=" images", delay=2):
        camera = re.sub(r"[^A-Za-z0-9-]", "-", row["camera"] or "c0")
        stem = f"{row['person_id']:05d}_{camera}"
        names.append(f"{stem}_{seen[stem]}.jpg")
        seen[stem] += 1
        row["image"].convert("RGB").save(folder / names[-1], quality=95, subsampling=0)
    return names
