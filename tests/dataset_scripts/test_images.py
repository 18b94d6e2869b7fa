from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from dataset_scripts.images import PersonImage


def _decode(image: Image.Image, kind: str = "PNG", **save: object) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, kind, **save)
    return PersonImage().decode_example({"path": "a.png", "bytes": buffer.getvalue()})


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "expected"),
    [
        ("1", 1, "PNG", (255, 255, 255)),
        ("L", 90, "PNG", (90, 90, 90)),
        ("LA", (90, 10), "PNG", (90, 90, 90)),
        ("RGB", (1, 2, 3), "PNG", (1, 2, 3)),
        ("RGBA", (1, 2, 3, 0), "PNG", (1, 2, 3)),
        ("P", 0, "PNG", (0, 0, 0)),
        ("CMYK", (0, 255, 255, 0), "TIFF", (255, 0, 0)),
    ],
)
def test_every_eight_bit_mode_becomes_rgb(
    mode: str, colour: int | tuple[int, ...], kind: str, expected: tuple[int, int, int]
):
    decoded = _decode(Image.new(mode, (4, 6), colour), kind)
    assert decoded.mode == "RGB" and decoded.getpixel((1, 1)) == expected


def test_exif_rotation_is_applied():
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    turned = _decode(Image.fromarray(pixels), exif=exif)
    assert turned.size == (4, 6) and turned.getpixel((3, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_more_than_eight_bits_are_refused(mode: str):
    with pytest.raises(OSError, match=f"image a.png has Pillow mode {mode}, not 8 bits"):
        _decode(Image.new(mode, (4, 4), 3000), "TIFF")


def test_embedded_images_have_a_name_too():
    with pytest.raises(OSError, match="image in the table cannot be decoded"):
        PersonImage().decode_example({"path": None, "bytes": b"nothing"})
