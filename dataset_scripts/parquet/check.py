"""Check Parquet shards: all that loading checks, and every image."""

from dataclasses import dataclass
from pathlib import Path

from datasets.utils import tqdm

from dataset_scripts.builders.image_features import check_stored_images
from dataset_scripts.common.images import decode_image, open_image
from dataset_scripts.parquet.load import checked_shards
from dataset_scripts.parquet.rows import shard_batches, shard_rows

__all__ = ["SplitSize", "check_parquet"]

_ROWS_AT_ONCE = 100


@dataclass(frozen=True)
class SplitSize:
    """Persons, images and captions of a split."""

    persons: int
    images: int
    captions: int


def check_parquet(folder: str | Path, *, decode: bool = False, look_at_images: bool = True) -> dict[str, SplitSize]:
    """Check a folder of Parquet; the first problem raises.

    Args:
        folder: made by `prompt-clip data convert`, or others' shards.
        decode: decode every image; otherwise read headers.
        look_at_images: False skips the images.

    Returns:
        split -> its size.

    Raises ValueError, OSError: as `load_parquet`; a missing or unusable image, named by shard and row.
    """
    sizes = {}
    for split, files in checked_shards(folder).items():
        persons, captions, images = set(), 0, 0
        for row in shard_rows(files):
            persons.add(row.fields["person_id"])
            captions += len(row.captions("captions"))
            images += 1
        sizes[split] = SplitSize(len(persons), images, captions)
        if look_at_images:
            for file in tqdm(files, desc=f"Checking images of {split}", unit=" shards", delay=2):
                _check_images(file, decode)
    return sizes


def _check_images(file: Path, decode: bool) -> None:
    row = 0
    for batch in shard_batches(file, ["image"], _ROWS_AT_ONCE):
        check_stored_images(batch.column("image"), f"shard {file}", row)
        for image in batch.column("image").to_pylist():
            name = f"in shard {file}, row {row}"
            opened = open_image(image["bytes"] if isinstance(image, dict) else image, name)
            if decode:
                decode_image(opened, name)
            row += 1
