"""Perceptual hashes: 128 bits nearly unchanged by re-encoding or resizing.

    >>> prints = hash_files(["a.jpg", "b.png"])
    >>> prints.hashes.shape, prints.readable
    ((2, 2), array([ True,  True]))

A hash finds candidates (`near_duplicates`), a signature confirms them (`image_signature`). Neither depends on colour.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

import datasets
import numpy as np
from datasets.utils import tqdm
from PIL import Image

from dataset_scripts.builders.cache_key import HASH_RULES
from dataset_scripts.builders.image_features import check_images_inside
from dataset_scripts.common.images import DECODING_ERRORS, ImageError, decode_image, open_image, read_image_file
from dataset_scripts.common.numbers import check_integer
from dataset_scripts.leaks.image_signature import SIGNATURE_SHAPE, bar_widths, image_signature, is_distinctive

__all__ = ["HASH_BITS", "ImagePrints", "hash_dataset", "hash_files", "perceptual_hash"]

logger = logging.getLogger(__name__)

HASH_BITS = 128

# Grey levels (of 255) by which one cell must exceed its neighbour for a 1. With 0, the bits of a plain wall or sky
# would be its noise; with more, dark pictures would have few bits set.
_LEAST_STEP = 3
# Neighbouring differences say nearly the same. The search looks up runs of bits, and runs gathered from all over the
# picture leave it far fewer candidates.
_BIT_ORDER = np.arange(HASH_BITS) * 29 % HASH_BITS
# What a JPEG is decoded to at least: three thumbnails are made from it, of at most 36 rows.
_DRAFT_SIZE = (32, 96)
_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class ImagePrints:
    """Hash and signature of many images."""

    hashes: np.ndarray  # `(images, 2)`, uint64; 0 for unreadable images
    signatures: np.ndarray  # `(images, 36, 12)`, uint8, from `image_signature`
    readable: np.ndarray  # `(images,)`, bool

    def __len__(self) -> int:
        return len(self.readable)

    @cached_property
    def bars(self) -> np.ndarray:
        """Widths of the bars at the edges (`bar_widths`), `(images, 4)`, int8."""
        return bar_widths(self.signatures)

    @cached_property
    def distinctive(self) -> np.ndarray:
        """Which images can be compared: readable, not plain (`is_distinctive`), `(images,)`, bool."""
        return self.readable & is_distinctive(self.signatures, self.bars)

    def select(self, rows: np.ndarray | slice) -> "ImagePrints":
        """Return some rows, in the order of `rows`."""
        return ImagePrints(self.hashes[rows], self.signatures[rows], self.readable[rows])

    @classmethod
    def concatenate(cls, parts: Iterable["ImagePrints"]) -> "ImagePrints":
        """Concatenate prints; without parts, return empty prints."""
        parts = [_empty_prints(0), *parts]
        columns = ("hashes", "signatures", "readable")
        return cls(*(np.concatenate([getattr(part, column) for part in parts]) for column in columns))


def perceptual_hash(image: Image.Image) -> np.ndarray:
    """Hash a picture by where it gets brighter.

    The picture is reduced to 8 x 8 cells, whatever its shape. 64 bits say whether a cell is brighter than its left
    neighbour, 64 whether it is brighter than the one above, by more than 3 grey levels of 255. Both directions
    distinguish persons better than 128 bits of one: horizontal steps are mostly the outline, which persons share,
    vertical ones mostly the clothes.

    Returns:
        `(2,)`, uint64; all bits 0 for an image of one colour.
    """
    grey = image.convert("L")
    # Bilinear cells overlap; with cells that do not, a copy of half the size differs in far more bits.
    across = np.asarray(grey.resize((9, 8), Image.Resampling.BILINEAR), np.int16)
    down = np.asarray(grey.resize((8, 9), Image.Resampling.BILINEAR), np.int16)
    steps = np.concatenate([np.diff(across, axis=1).ravel(), np.diff(down, axis=0).ravel()])
    return np.packbits(steps[_BIT_ORDER] > _LEAST_STEP).view(np.uint64)


def hash_files(
    paths: Sequence[str | os.PathLike[str]], num_proc: int | None = None, progress: bool = True
) -> ImagePrints:
    """Hash image files; an unreadable one is marked and raises no error.

    Args:
        paths: the files.
        num_proc: processes, 1 or more; None for this one only.
        progress: show a bar after two seconds.

    Raises ValueError: `num_proc` is less than 1.
    """
    if num_proc is not None:
        check_integer("num_proc", num_proc, least=1)
    chunks = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
    parts = []
    with ExitStack() as stack:
        run = map
        if num_proc is not None and min(num_proc, len(chunks)) > 1:
            run = stack.enter_context(ProcessPoolExecutor(min(num_proc, len(chunks)))).map
        bar = stack.enter_context(
            tqdm(total=len(paths), desc="Hashing images", unit=" images", delay=2, disable=not progress or None)
        )
        for part in run(_hash_sources, chunks):
            parts.append(part)
            bar.update(len(part))
    return _with_warning(ImagePrints.concatenate(parts))


def hash_dataset(dataset: datasets.Dataset, num_proc: int | None = None) -> ImagePrints:
    """Hash the images of a data set; `datasets` caches the result.

    The cache key covers the table, size and date of each image file, and the hash rules. Sets in memory
    (`Dataset.from_dict`) have no cache.

    Args:
        dataset: rows with `image`, decoded or not.
        num_proc: processes, 1 or more; None for this one only.

    Raises ValueError: `num_proc` is less than 1.
    """
    if num_proc is not None:
        check_integer("num_proc", num_proc, least=1)
    if not len(dataset):
        return _empty_prints(0)
    check_images_inside(dataset)
    images = dataset.select_columns(["image"]).cast_column("image", datasets.Image(decode=False))
    table = images.map(
        _hash_batch,
        batched=True,
        batch_size=_AT_ONCE,
        num_proc=num_proc if num_proc != 1 else None,
        remove_columns=["image"],
        features=datasets.Features(
            {
                "hash": datasets.Value("binary"),
                "signature": datasets.Value("binary"),
                "readable": datasets.Value("bool"),
            }
        ),
        new_fingerprint=_cache_key(images),
        desc="Hashing images",
    ).with_format("arrow")[:]
    return _with_warning(
        ImagePrints(
            _bytes_to_array(table["hash"].to_pylist(), np.uint64, (2,)),
            _bytes_to_array(table["signature"].to_pylist(), np.uint8, SIGNATURE_SHAPE),
            table["readable"].to_numpy(),
        )
    )


def _hash_sources(sources: Sequence[str | os.PathLike[str] | bytes]) -> ImagePrints:
    """Hash files, given as paths or as bytes."""
    prints = _empty_prints(len(sources))
    for row, source in enumerate(sources):
        try:
            grey = _read_grey(source)
        except ImageError:
            continue
        prints.hashes[row] = perceptual_hash(grey)
        prints.signatures[row] = image_signature(grey)
        prints.readable[row] = True
    return prints


def _read_grey(source: str | os.PathLike[str] | bytes) -> Image.Image:
    """Decode upright to grey, a JPEG at reduced size if that is enough."""
    data = source if isinstance(source, bytes) else read_image_file(source)
    image = open_image(data, "")
    try:
        image.draft("L", _DRAFT_SIZE)
        return decode_image(image, "").convert("L")
    except DECODING_ERRORS as error:
        raise ImageError(f"an image cannot be decoded ({error}).") from error


def _hash_batch(batch: dict[str, list]) -> dict[str, list]:
    prints = _hash_sources([image["path"] if image["bytes"] is None else image["bytes"] for image in batch["image"]])
    return {
        "hash": [row.tobytes() for row in prints.hashes],
        "signature": [row.tobytes() for row in prints.signatures],
        "readable": prints.readable.tolist(),
    }


def _cache_key(images: datasets.Dataset) -> str:
    digest = hashlib.sha256(f"{images._fingerprint} {HASH_RULES} {version('pillow')}".encode())
    for path in _image_paths(images):
        try:
            status = os.stat(path)
            digest.update(f"{status.st_size} {status.st_mtime_ns} ".encode())
        except OSError:
            digest.update(b"missing ")
    return digest.hexdigest()[:32]


def _image_paths(images: datasets.Dataset) -> Iterator[str]:
    """List the image files of the whole table, also those outside a selection."""
    for chunk in images.data.column("image").chunks:
        yield from chunk.field("path").filter(chunk.field("bytes").is_null()).drop_null().to_pylist()


def _bytes_to_array(rows: list[bytes], dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(b"".join(rows), dtype).reshape(len(rows), *shape)


def _empty_prints(images: int) -> ImagePrints:
    signatures = np.zeros((images, *SIGNATURE_SHAPE), np.uint8)
    return ImagePrints(np.zeros((images, 2), np.uint64), signatures, np.zeros(images, bool))


def _with_warning(prints: ImagePrints) -> ImagePrints:
    unreadable = len(prints) - int(prints.readable.sum())
    if unreadable:
        logger.warning("%d of %d images cannot be read and are not compared.", unreadable, len(prints))
    return prints
