"""Export images of a data set to a plain folder, to search in."""

import re
from collections import Counter
from pathlib import Path

import datasets
from datasets.utils import tqdm

from dataset_scripts.common.files import new_folder
from dataset_scripts.common.numbers import check_integer

__all__ = ["export_images"]


def export_images(dataset: datasets.Dataset, folder: str | Path, limit: int | None = None) -> list[Path]:
    """Write the first `limit` images as `{person_id:05d}_{camera or 'c0'}_{n}.jpg`.

    `n` counts the images per person and camera from 0. In camera names, anything but letters, digits and hyphens
    becomes a hyphen. The folder appears complete or not at all.

    Args:
        dataset: rows with `image`, `person_id` and `camera`.
        folder: must not exist or be empty; missing parents are created.
        limit: 1 or more; None for all images.

    Returns:
        The files, in row order.

    Raises:
        ValueError, TypeError: `limit` is not an integer of 1 or more.
        FileExistsError: `folder` is not empty.
        OSError: an image cannot be decoded (it is named), or a file cannot be written.
    """
    if limit is not None:
        check_integer("limit", limit, least=1)
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"folder {folder} exists and is not empty. Name another folder, or delete it first.")
    rows = dataset if limit is None else dataset.select(range(min(limit, len(dataset))))
    with new_folder(folder, replace_empty=True) as filling:
        names = _write_images(rows, filling)
    return [folder / name for name in names]


def _write_images(dataset: datasets.Dataset, folder: Path) -> list[str]:
    seen: Counter[str] = Counter()
    names = []
    for row in tqdm(dataset, desc="Exporting images", unit=" images", delay=2):
        camera = re.sub(r"[^A-Za-z0-9-]", "-", row["camera"] or "c0")
        stem = f"{row['person_id']:05d}_{camera}"
        names.append(f"{stem}_{seen[stem]}.jpg")
        seen[stem] += 1
        row["image"].convert("RGB").save(folder / names[-1], quality=95, subsampling=0)
    return names
