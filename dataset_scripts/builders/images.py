"""The images of a person-search set: the feature that decodes them, and the checks on all images of a folder."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from datasets.utils import tqdm
from PIL import Image

from dataset_scripts.annotations.records import PersonSearchRecord
from dataset_scripts.common.images import ImageError, decode_image, open_image, read_image_file

__all__ = [
    "BadImage",
    "EmbeddedImage",
    "ImageFolder",
    "PersonImage",
    "check_image_links",
    "check_images_exist",
    "check_images_inside",
    "check_stored_images",
    "find_bad_images",
    "refuse_bad_images",
]

_NAMES_SHOWN = 3
# Images handed to the threads at a time: enough to keep them busy, few enough to forget.
_AT_ONCE = 4096


@dataclass
class PersonImage(datasets.Image):
    """The `datasets.Image` feature with two promises: what comes out is RGB, and a failure names the file.

    See `open_image` for what is refused and `decode_image` for what is converted. Stored data are those of a plain
    `datasets.Image(mode="RGB")`, so a set that is pushed loads without this package.
    """

    def __post_init__(self):
        # Set here and not as another default, because `datasets` does not store fields that equal their default.
        self.mode = "RGB"

    def decode_example(self, value: dict, token_per_repo_id: dict | None = None) -> Image.Image:
        """Decodes `{"path": ..., "bytes": ...}` to an RGB image. Raises OSError that names the image and the fault."""
        path, data = value["path"], value["bytes"]
        name = path or "in the table"
        if data is None:
            data = self._read(path)
        return decode_image(open_image(data, name), name)

    def _read(self, path: str | None) -> bytes:
        """Reads the file of an image that is not in the table. No address is ever asked."""
        if path is None:
            raise ImageError("a row of the table has no image. Remove the row.", "missing_image")
        return read_image_file(path)


@dataclass(eq=False)
class EmbeddedImage(PersonImage):
    """A `PersonImage` of a set whose images are inside: bytes are decoded, and no path is opened.

    Whoever made a Parquet or Hub set would choose those paths: files of the reader's machine, or addresses.

    Attributes:
        parts: names of the shards that a table was built from, and their numbers of rows.
    """

    def __post_init__(self):
        super().__post_init__()
        # No field: `datasets` would store it with the features, and plain readers would stumble over it.
        self.parts: list[tuple[str, int]] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PersonImage) and (self.mode, self.decode) == (other.mode, other.decode)

    def _read(self, path: str | None) -> bytes:
        raise ImageError(
            f"image {path or 'in the table'} is not inside the set, and what its row names is not opened. Embed the "
            "images where the files are, with prompt-clip data convert.",
            "missing_image",
        )


def check_images_inside(rows: datasets.Dataset | datasets.IterableDataset) -> None:
    """Refuses a Parquet or Hub table with an image outside; a stream is checked while it is read.

    Whatever uses the images of a set calls this first; sets in folders name their images, and pass.

    Raises:
        ValueError: a row has no bytes; it names the shard and the row.
    """
    feature = (rows.features or {}).get("image")
    if not isinstance(feature, EmbeddedImage) or not isinstance(rows, datasets.Dataset):
        return
    images = rows.data.column("image").combine_chunks()
    if not feature.parts or sum(count for _, count in feature.parts) != len(images):
        check_stored_images(images, "the set")
        return
    first = 0
    for name, count in feature.parts:
        check_stored_images(images.slice(first, count), name)
        first += count


def check_stored_images(images: pa.Array | pa.ChunkedArray, where: str, first_row: int = 0) -> None:
    """Refuses a column of images, as `datasets.Image` stores them or as bytes, of which one has no bytes.

    Args:
        images: the column.
        where: the shard or split, for the message.
        first_row: number of the first of these rows there.

    Raises:
        ValueError: a row has no bytes; it names the shard and the row.
    """
    for chunk in images.chunks if isinstance(images, pa.ChunkedArray) else [images]:
        content = pc.struct_field(chunk, "bytes") if pa.types.is_struct(chunk.type) else chunk
        missing = pc.is_null(content)
        if not pa.types.is_null(content.type):
            missing = pc.or_(missing, pc.equal(pc.fill_null(pc.binary_length(content), 0), 0))
        row = pc.index(missing, True).as_py()
        if row >= 0:
            raise ValueError(
                f"{where}, row {first_row + row}: 'image' holds no bytes. A Parquet or Hub set holds its images, and "
                "no path or address in a row is opened. Convert the folder of the images with prompt-clip data "
                "convert, which puts them inside."
            )
        first_row += len(chunk)


class ImageFolder:
    """The folder of a set's images; looks for files in it, and remembers its sub-folders.

    Args:
        folder: it may be a link itself, but nothing inside may lead out by a link.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = str(folder)
        self._root = os.path.realpath(folder)
        self._real_folders: dict[str, str] = {}
        self._missing_folders: dict[str, str | None] = {}

    def file(self, image_id: str) -> str:
        """Returns the path of an image."""
        return os.path.join(self.path, image_id)

    def leads_out(self, image_id: str) -> bool:
        """Says whether the path of an image leaves the folder by a link."""
        folder, _, name = image_id.rpartition("/")
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(os.path.join(self._root, folder))
        file = os.path.join(self._real_folders[folder], name)
        if os.path.islink(file):
            file = os.path.realpath(file)
        return not file.startswith(self._root.rstrip(os.sep) + os.sep)

    def missing_folder(self, image_id: str) -> str | None:
        """Returns the first folder on an image's path that is not there, relative to this one; None if all are."""
        folder = image_id.rpartition("/")[0]
        if folder not in self._missing_folders:
            steps = folder.split("/")
            ways = ("/".join(steps[: count + 1]) for count in range(len(steps)))
            missing = (way for way in ways if not os.path.isdir(os.path.join(self._root, way)))
            self._missing_folders[folder] = next(missing, None)
        return self._missing_folders[folder]


@dataclass(frozen=True, slots=True)
class BadImage:
    """An image that cannot be used.

    Attributes:
        record: the row that names it.
        kind: what is wrong with it, a name of `dataset_scripts.annotations.problems.PROBLEMS`.
        reason: the same as a sentence with the file and the remedy.
    """

    record: PersonSearchRecord
    kind: str
    reason: str


def check_image_links(folder: Path, records: Sequence[PersonSearchRecord]) -> None:
    """Refuses images outside `folder` (which may be a link itself): a link inside must not lead out.

    Raises ValueError that counts them and names the first, with their rows.
    """
    images = ImageFolder(folder)
    outside = [f"{record.image_id} (row {record.row})" for record in records if images.leads_out(record.image_id)]
    if outside:
        raise ValueError(
            f"{records[0].file}: {len(outside)} image path(s) lead out of {folder} by a link, first "
            f"{_first(outside)}. Copy the files into the folder; the folder as a whole may be a link."
        )


def find_bad_images(folder: Path, records: Sequence[PersonSearchRecord], threads: int | None = None) -> list[BadImage]:
    """Decodes every image once, as training will: a header says nothing of a file cut short.

    Runs once for each version of the annotation, at some thousand images a second.

    Args:
        folder: the image folder.
        records: the rows.
        threads: images decoded at once; None takes one a core.
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
    return bad


def refuse_bad_images(bad: Sequence[BadImage], total: int) -> None:
    """Raises FileNotFoundError where images are missing, else OSError for those that cannot be decoded.

    The message counts them, names the first rows, says what is wrong with the first, and how to train on the rest.
    """
    if not bad:
        return
    missing = [image for image in bad if image.kind == "missing_image"]
    chosen, kind = (missing, FileNotFoundError) if missing else (bad, OSError)
    first = chosen[0]
    rows = _first([f"{image.record.image_id} (row {image.record.row})" for image in chosen])
    what = "are not in the image folder" if missing else "cannot be used"
    raise kind(
        f"{first.record.file}: {len(chosen)} of {total} images {what}, first {rows}. The first: {first.reason} "
        "Or leave such images out with on_bad_image='skip'."
    )


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
