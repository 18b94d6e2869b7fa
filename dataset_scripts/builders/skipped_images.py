"""List of the images that a build left out, kept beside its table."""

import json
from collections.abc import Sequence
from pathlib import Path

import datasets

from dataset_scripts.builders.image_files import BadImage
from dataset_scripts.common.text.documents import read_json_as

__all__ = ["SKIPPED_IMAGES", "skipped_images", "write_skipped"]

SKIPPED_IMAGES = "skipped_images.json"
"""Name of the list in the folder of a table."""


def write_skipped(folder: str | Path, bad: Sequence[BadImage]) -> None:
    """Write a JSON list with `image_id`, `split`, `file`, `row` and `reason`."""
    rows = [
        {
            "image_id": image.record.image_id,
            "split": image.record.split,
            "file": str(image.record.file),
            "row": image.record.row,
            "reason": image.reason,
        }
        for image in bad
    ]
    Path(folder, SKIPPED_IMAGES).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def skipped_images(dataset: datasets.Dataset) -> list[dict[str, str | int]]:
    """Return what `on_bad_image="skip"` left out of a loaded set; usually nothing."""
    folders = {Path(file["filename"]).parent for file in dataset.cache_files}
    lists = [folder / SKIPPED_IMAGES for folder in sorted(folders)]
    return [row for file in lists if file.is_file() for row in read_json_as(list, file)]
