"""The feature that decodes images, and the checks on all images of a folder."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dataset_scripts.annotations.records import PersonSearchRecord
from dataset_scripts.builders.image_features import PersonImage
from dataset_scripts.builders.image_files import ImageFolder, check_image_links, find_bad_images, refuse_bad_images


def _decode(image: Image.Image, kind: str = "PNG", **save: object) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, kind, **save)
    return PersonImage().decode_example({"path": "a.png", "bytes": buffer.getvalue()})


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "expected"),
    [
        ("1", 1, "PNG", (255, 255, 255)),
        ("L", 90, "PNG", (90, 90, 90)),
        ("LA", (90, 10), "PNG", (249, 249, 249)),
        ("RGB", (1, 2, 3), "PNG", (1, 2, 3)),
        ("RGBA", (1, 2, 3, 0), "PNG", (255, 255, 255)),
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
    with pytest.raises(OSError, match=f"image a.png has (Pillow mode {mode}|values up to 3000 of 65535)"):
        _decode(Image.new(mode, (4, 4), 3000), "TIFF")


def test_embedded_images_have_a_name_too():
    with pytest.raises(OSError, match="image in the table cannot be decoded"):
        PersonImage().decode_example({"path": None, "bytes": b"nothing"})


def test_a_damaged_file_has_a_name(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(OSError, match="a.png cannot be decoded"):
        PersonImage().decode_example({"path": str(tmp_path / "a.png"), "bytes": None})


def _record(image_id: str, row: int = 0) -> PersonSearchRecord:
    return PersonSearchRecord(Path("rows.json"), row, "train", image_id, 1, ("A man.",), None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good image, links of all kinds, and files that are no image."""
    root, outside = tmp_path / "imgs", tmp_path / "imgs_outside"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    for place in (root / "a.png", root / "sub" / "b.png", outside / "c.png"):
        Image.new("RGB", (4, 9), (1, 2, 3)).save(place)
    (root / "inside.png").symlink_to("sub/b.png")
    (root / "out.png").symlink_to(outside / "c.png")
    (root / "dangling.png").symlink_to(outside / "d.png")
    (root / "folder_out").symlink_to(outside)
    (root / "folder_in").symlink_to("sub")
    (root / "loop").symlink_to("loop")
    (root / "text.png").write_text("text")
    os.mkfifo(root / "pipe.png")
    return root


def test_only_links_lead_out(folder: Path):
    images = ImageFolder(folder)
    names = ("a.png", "sub/b.png", "inside.png", "folder_in/b.png", "none/d.png", "loop/d.png", "loop")
    assert not any(map(images.leads_out, names))
    assert all(map(images.leads_out, ("out.png", "dangling.png", "folder_out/c.png", "folder_out/x/y.png")))


@given(st.lists(st.sampled_from(["sub", "folder_in", "folder_out", "loop", "a.png", "out.png", "b.png"]), min_size=1))
@settings(deadline=None, max_examples=40)
def test_leading_out_is_what_the_real_path_says(tmp_path_factory: pytest.TempPathFactory, parts: list[str]):
    base = tmp_path_factory.getbasetemp() / "links"
    if not base.exists():
        (base / "imgs" / "sub").mkdir(parents=True)
        (base / "imgs" / "sub" / "b.png").touch()
        (base / "imgs" / "folder_in").symlink_to("sub")
        (base / "imgs" / "folder_out").symlink_to(base)
        (base / "imgs" / "loop").symlink_to("loop")
        (base / "imgs" / "out.png").symlink_to(base / "x.png")
    root = os.path.realpath(base / "imgs")
    expected = not os.path.realpath(os.path.join(root, *parts)).startswith(root + os.sep)
    assert ImageFolder(base / "imgs").leads_out("/".join(parts)) == expected


def test_the_first_missing_folder_is_named(folder: Path):
    images = ImageFolder(folder)
    names = {"a.png": None, "sub/x.png": None, "no/x.png": "no", "sub/no/no/x.png": "sub/no", "a.png/x": "a.png"}
    assert {name: images.missing_folder(name) for name in names} == names
    assert images.missing_folder("loop/x.png") == "loop"


def test_links_that_lead_out_are_counted(folder: Path):
    records = [_record(name, row) for row, name in enumerate(("a.png", "out.png", "folder_out/c.png"))]
    with pytest.raises(
        ValueError, match=r"rows.json: 2 image path\(s\) leave .* through a link, first out.png \(row 1\), fold"
    ):
        check_image_links(folder, records)
    check_image_links(folder, records[:1])


def test_bad_images_tell_their_kind(folder: Path):
    names = ("a.png", "no.png", "text.png", "pipe.png", "sub", "x" * 300)
    bad = find_bad_images(folder, list(map(_record, names)))
    assert [(image.record.image_id, image.kind) for image in bad] == [
        ("no.png", "missing_image"),
        ("text.png", "not_an_image"),
        ("pipe.png", "missing_image"),
        ("sub", "missing_image"),
        ("x" * 300, "missing_image"),
    ]
    with pytest.raises(
        FileNotFoundError, match="4 of 6 images are not in the image folder, first no.png .*is missing"
    ):
        refuse_bad_images(bad, 6)
    with pytest.raises(OSError, match="1 of 6 images cannot be used, first text.png") as caught:
        refuse_bad_images(bad[1:2], 6)
    assert not isinstance(caught.value, FileNotFoundError)


def test_a_file_under_nearly_the_name_is_named(folder: Path):
    bad = find_bad_images(folder, list(map(_record, ("a.jpg", "no.png"))))
    assert [image.kind for image in bad] == ["misnamed_image", "missing_image"]
    with pytest.raises(FileNotFoundError, match=r"The first: a.jpg is missing, but there is a.png. Rename the file"):
        refuse_bad_images(bad, 2)
