"""Rules for reading one image file."""

import errno
import os
import stat
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from dataset_scripts.common.images.other_formats import recognize

__all__ = [
    "DECODING_ERRORS",
    "IMAGE_FORMATS",
    "IMAGE_SUFFIXES",
    "ImageError",
    "decode_image",
    "ends_whole",
    "is_rotated",
    "open_image",
    "read_image_file",
    "to_rgb",
]

DECODING_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise on damaged files."""

# What cameras and data sets write. Pillow knows more, some of which start other programs or are rarely used.
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "AVIF")
IMAGE_SUFFIXES = frozenset(
    ".avif .bmp .dib .gif .jfif .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()
)
"""How names of such files end, in lower case."""
_FIRST_BYTES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*")
_LAST_BYTES = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I", "I;16", "I;16B", "I;16L", "I;16N")
# A grey image of 16 bits that stays below 1/16 of white holds the 12 bits or fewer of a sensor: scaled, it is black.
_DARKEST_DEEP = 1 << 12
# A crop of a person has some 10,000 pixels; this many take a second and 200 MB to decode.
_MOST_PIXELS = 1 << 26
_MOST_BYTES = 1 << 28
_RESTORE = "Restore it from the original archive."


class ImageError(OSError):
    """An image that cannot be used.

    Attributes:
        kind: key in `dataset_scripts.annotations.problems.PROBLEMS`.
        fault: details in a few words; "" if the kind says it all.
    """

    def __init__(self, message: str, kind: str = "truncated_image", fault: str = "") -> None:
        # The message alone has to be enough: processes that load data hand exceptions to their parent that way.
        super().__init__(message)
        self.kind = kind
        self.fault = fault


def read_image_file(path: str | Path) -> bytes:
    """Return the bytes of an image file; never blocks.

    Raises ImageError for a file that is missing, empty, unreadable, beyond 256 MiB or not a regular file.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            fault = "a folder, pipe or device"
            raise ImageError(f"image {path} is no file, but {fault}. {_RESTORE}", "missing_image", fault)
        if status.st_size > _MOST_BYTES:
            raise _too_large(path, f"{status.st_size:,} bytes")
        data = Path(path).read_bytes()
    except ImageError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    if not data:
        raise ImageError(f"image {path} has 0 bytes. {_RESTORE}", "empty_image")
    return data


def open_image(data: bytes, name: str | Path) -> Image.Image:
    """Open an image without decoding it, and check its header.

    Args:
        data: the bytes of its file.
        name: of the image, for messages.

    Raises ImageError: not one of `IMAGE_FORMATS`, a damaged header, no pixel or more than 67 million, or a mode
        without a defined white (floating point, LAB).
    """
    try:
        image = Image.open(BytesIO(data), formats=IMAGE_FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large(name, error) from error
    except UnidentifiedImageError as error:
        if data.startswith(_FIRST_BYTES):
            raise _damaged(name, "its header is damaged") from error
        found = recognize(data)
        message = f"image {name} cannot be decoded: it is {found.what}. {found.remedy}"
        raise ImageError(message, found.kind, "" if found.what == "no image" else found.what) from error
    except DECODING_ERRORS as error:
        raise _damaged(name, error) from error
    width, height = image.size
    if width * height > _MOST_PIXELS:
        raise _too_large(name, f"{width:,} x {height:,} pixels")
    if not width or not height:
        raise _damaged(name, f"{width} x {height} pixels")
    _check_mode(image, name)
    return image


def decode_image(image: Image.Image, name: str | Path) -> Image.Image:
    """Decode an image from `open_image` with `to_rgb`.

    Raises ImageError for a damaged image, and for 16-bit grey that would be black.
    """
    try:
        image.load()
        is_rotated(image, name)
        # Some decoders know the mode only now.
        _check_mode(image, name)
        _check_depth(image, name)
        picture = to_rgb(image)
        picture.info.pop("exif", None)  # it has had its effect, and may be damaged where Pillow does not look
        return picture
    except ImageError:
        raise
    except DECODING_ERRORS as error:
        raise _damaged(name, error) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB as the eye sees it: upright by EXIF, transparency on white.

    16-bit grey keeps its upper 8 bits, where Pillow would turn everything above 255 white. Of an animation the current
    frame is taken.

    Raises:
        TypeError: not a Pillow image.
        ValueError: a mode without a defined white: floating point, integers beyond 16 bits, LAB.
        OSError: the file cannot be decoded.
    """
    if not isinstance(image, Image.Image):
        raise TypeError(f"image is {type(image).__name__}: it must be a PIL.Image.Image.")
    image.load()
    if image.getexif().get(ExifTags.Base.Orientation) in range(2, 9):
        image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("the image has mode F, floating point without a defined white: convert it to mode L or RGB.")
    if image.mode.startswith("I"):
        image = _upper_byte(image)
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data or image.mode == "RGBa":
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _upper_byte(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"the image has mode {image.mode} and values from {values.min()} to {values.max()}, beyond 16 bits: scale "
            "them to 0..255 and save it in mode L."
        )
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def is_rotated(image: Image.Image, name: str | Path) -> bool:
    """Whether EXIF rotates or mirrors the image; ImageError for damaged EXIF data."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation) in range(2, 9)
    except DECODING_ERRORS as error:
        raise _damaged(name, error) from error


def ends_whole(image: Image.Image, data: bytes) -> bool:
    """Whether a file ends as its format requires; if not, decode it."""
    if image.format == "BMP":
        return int.from_bytes(data[2:6], "little") == len(data)
    if image.format == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 == len(data)
    return image.format in _LAST_BYTES and data.endswith(_LAST_BYTES[image.format])


def _check_mode(image: Image.Image, name: str | Path) -> None:
    if image.mode not in _MODES:
        fault = f"Pillow mode {image.mode}"
        raise ImageError(f"image {name} has {fault}, which has no defined white. Save it as RGB.", "deep_image", fault)


def _check_depth(image: Image.Image, name: str | Path) -> None:
    if not image.mode.startswith("I"):
        return
    low, high = image.getextrema()
    if low < 0 or high > 65535:
        fault = f"values from {low} to {high}, beyond 16 bits"
    elif high < _DARKEST_DEEP:
        fault = f"values up to {high} of 65535, nearly black"
    else:
        return
    raise ImageError(
        f"image {name} has {fault}. Scale its values to 0..255 and save it with 8 bits.", "deep_image", fault
    )


def _unreadable(path: str | Path, error: OSError) -> ImageError:
    fault = str(error.strerror)
    if isinstance(error, FileNotFoundError):
        target = os.readlink(path) if os.path.islink(path) else ""
        if "/annex/objects/" in target:
            found = recognize(target.encode(errors="replace"))
            return ImageError(
                f"image {path} is a link of git-annex. {found.remedy}", found.kind, "a link of git-annex"
            )
        fault = f"a link to {target}, which does not exist" if target else ""
        what = f"is {fault}" if target else "is missing"
        return ImageError(f"image {path} {what}. {_RESTORE}", "missing_image", fault)
    if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR):
        return ImageError(f"image {path} cannot be read ({fault}). {_RESTORE}", "missing_image", fault)
    remedy = "Check the permissions (chmod -R u+rX FOLDER) and the disk."
    return ImageError(f"image {path} is there, but cannot be read ({fault}). {remedy}", "unreadable_image", fault)


def _damaged(name: str | Path, fault: object) -> ImageError:
    message = f"image {name} cannot be decoded ({fault}). {_RESTORE}"
    return ImageError(message, "truncated_image", str(fault))


def _too_large(name: str | Path, fault: object) -> ImageError:
    message = f"image {name} is too large ({fault}). Crop the person, or remove the row."
    return ImageError(message, "huge_image", str(fault))
