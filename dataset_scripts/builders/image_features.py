"""Features that decode images to RGB, and checks on images in tables."""

from dataclasses import dataclass

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from dataset_scripts.common.images import ImageError, decode_image, open_image, read_image_file

__all__ = ["EmbeddedImage", "PersonImage", "check_images_inside", "check_stored_images"]


@dataclass
class PersonImage(datasets.Image):
    """The `datasets.Image` feature, always RGB, with errors that name the image.

    `open_image` says what is refused, `decode_image` what is converted. Data is stored as for
    `datasets.Image(mode="RGB")`, so a pushed set loads without this package.
    """

    def __post_init__(self):
        # Not a default: `datasets` does not store fields that equal their default.
        self.mode = "RGB"

    def decode_example(self, value: dict, token_per_repo_id: dict | None = None) -> Image.Image:
        """Decode `{"path": ..., "bytes": ...}`; raise OSError that names the image."""
        path, data = value["path"], value["bytes"]
        name = path or "in the table"
        if data is None:
            data = self._read(path)
        return decode_image(open_image(data, name), name)

    def _read(self, path: str | None) -> bytes:
        """Read a local file; URLs are never opened."""
        if path is None:
            raise ImageError("a row of the table has no image. Remove the row.", "missing_image")
        return read_image_file(path)


@dataclass(eq=False)
class EmbeddedImage(PersonImage):
    """A `PersonImage` whose bytes are in the table; paths are never opened.

    The author of a Parquet or Hub set would choose those paths: files on the reader's machine, or URLs.

    Attributes:
        parts: name and number of rows of each shard in the table.
    """

    def __post_init__(self):
        super().__post_init__()
        # Not a field: `datasets` would store it with the features, and other readers would fail.
        self.parts: list[tuple[str, int]] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PersonImage) and (self.mode, self.decode) == (other.mode, other.decode)

    def _read(self, path: str | None) -> bytes:
        raise ImageError(
            f"image {path or 'in the table'} is not inside the set, and paths in rows are never opened. Embed the "
            "images with prompt-clip data convert, where the files are.",
            "missing_image",
        )


def check_images_inside(rows: datasets.Dataset | datasets.IterableDataset) -> None:
    """Raise ValueError if a Parquet or Hub table has an image without bytes.

    Call this before using the images of a set. Streams are checked while they are read; sets in folders pass.
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
    """Raise ValueError naming the first row of an image column without bytes.

    Args:
        images: as `datasets.Image` stores them, or as bytes.
        where: shard or split, for the message.
        first_row: number of the first row in that shard or split.
    """
    for chunk in images.chunks if isinstance(images, pa.ChunkedArray) else [images]:
        content = pc.struct_field(chunk, "bytes") if pa.types.is_struct(chunk.type) else chunk
        missing = pc.is_null(content)
        if not pa.types.is_null(content.type):
            missing = pc.or_(missing, pc.equal(pc.fill_null(pc.binary_length(content), 0), 0))
        row = pc.index(missing, True).as_py()
        if row >= 0:
            raise ValueError(
                f"{where}, row {first_row + row}: 'image' holds no bytes. A Parquet or Hub set holds its images: "
                "paths and URLs in rows are never opened. Convert the folder of images with prompt-clip data convert."
            )
        first_row += len(chunk)
