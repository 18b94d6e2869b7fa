"""The rules that say whether an image file can be used."""

import io
import os
import pickle
import random
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_scripts.common import images
from dataset_scripts.common.images import ImageError, decode_image, ends_whole, is_rotated, open_image, read_image_file

# Format -> options of saving.
FORMATS = {
    "JPEG": {"quality": 90},
    "PNG": {},
    "BMP": {},
    "GIF": {},
    "PPM": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
}
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 8, 3), dtype=np.uint8))


def _saved(kind: str, image: Image.Image = NOISE, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **{**FORMATS[kind], **options})
    return buffer.getvalue()


def _turned(orientation: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _saved("JPEG", exif=exif)


def _png_of_size(width: int, height: int) -> bytes:
    """The start of a grey PNG, all that its size is read from."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header)) + b"\0\0\0\0IDAT\x35\xaf\x06\x1e"
    )


def _kind(call: object, *args: object) -> str:
    with pytest.raises(ImageError) as caught:
        call(*args)
    return caught.value.kind


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_of_each_format_is_read(kind: str):
    data = _saved(kind)
    image = open_image(data, "a")
    assert ends_whole(image, data) == (kind not in ("TIFF", "PPM"))
    assert decode_image(image, "a").size == NOISE.size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
@pytest.mark.parametrize("change", [lambda data: data[:-3], lambda data: data + b"\0\0"])
def test_a_cut_or_longer_file_does_not_end_whole(kind: str, change: object):
    data = _saved(kind)
    assert not ends_whole(open_image(data, "a"), change(data))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_short_is_told_by_decoding(kind: str):
    data = _saved(kind)[:-100]
    assert _kind(lambda: decode_image(open_image(data, "a"), "a")) == "truncated_image"


def test_bytes_behind_the_image_do_no_harm():
    decode_image(open_image(_saved("JPEG") + b"\0" * 50, "a"), "a")


FOREIGN = {
    "an HTML page": (b"\n<!DOCTYPE html><title>404", "not_an_image", "repeat it"),
    "an HTML page of old": (b"<HTML><body>", "not_an_image", "HTML page"),
    "zeros": (b"\0" * 99, "not_an_image", "zero bytes"),
    "text": (b"no\tsuch key", "not_an_image", "a text"),
    "hostile text": (b"\x1b[31mred", "not_an_image", "no image"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "pointer_image", "git lfs pull"),
    "annex": (b"/annex/objects/MD5E-s9--0.jpg\n", "pointer_image", "git annex get"),
    "unlocked annex": (b"../.git/annex/objects/xX/MD5E-s9--0.jpg", "pointer_image", "git annex get"),
    "macOS": (b"\0\5\x16\7" + b"\0" * 90, "not_an_image", r"-name '\._\*' -delete"),
    "Finder": (b"\0\0\0\1Bud1", "not_an_image", "DS_Store"),
    "thumbnails": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "not_an_image", "Thumbs.db"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "other_format", "HEIC .*Convert"),
    "JPEG XL": (b"\xff\x0a\xff", "other_format", "JPEG XL .*Convert"),
    "JPEG XL box": (b"\0\0\0\x0cJXL \r\n\x87\n", "other_format", "JPEG XL .*Convert"),
    "PDF": (b"%PDF-1.7\n", "other_format", "PDF .*Convert"),
    "SVG": (b"<?xml version='1.0'?>\n<svg/>", "other_format", "SVG .*Convert"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "other_format", "PostScript"),
    "MP4": (b"\0\0\0\x20ftypisom", "not_an_image", "video.*ffmpeg"),
    "AVI": (b"RIFF\0\0\0\0AVI LIST", "not_an_image", "video.*ffmpeg"),
    "ZIP": (b"PK\3\4", "not_an_image", "ZIP"),
}


@pytest.mark.parametrize(("data", "kind", "says"), FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_is_no_image_is_told_by_its_first_bytes(data: bytes, kind: str, says: str):
    with pytest.raises(ImageError, match=says) as caught:
        open_image(data, "a.jpg")
    assert caught.value.kind == kind and str(caught.value).isprintable()


def test_what_cannot_be_read_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "annexed.jpg").symlink_to(".git/annex/objects/a/b.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nowhere.jpg")
    cases = {
        "annexed.jpg": ("pointer_image", "git annex get"),
        "dangling.jpg": ("missing_image", "a link to nowhere.jpg, which does not exist"),
        "nowhere.jpg": ("missing_image", "is missing"),
    }
    for name, (kind, says) in cases.items():
        with pytest.raises(ImageError, match=says) as caught:
            read_image_file(tmp_path / name)
        assert caught.value.kind == kind

    def refused(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "closed.jpg").write_bytes(_saved("JPEG"))
    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(ImageError, match=r"\(Permission denied\).*chmod") as caught:
        read_image_file(tmp_path / "closed.jpg")
    assert caught.value.kind == "unreadable_image"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF"])
def test_an_image_cut_in_its_header_is_damaged(kind: str):
    assert _kind(open_image, _saved(kind)[:9], "a") == "truncated_image"


@pytest.mark.parametrize(("width", "height"), [(8193, 8192), (1 << 26, 2), (65500, 65500)])
def test_an_absurd_size_is_refused_by_the_header(width: int, height: int):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert _kind(open_image, _png_of_size(width, height), "a") == "huge_image"


def test_the_largest_size_is_read():
    assert open_image(_png_of_size(8192, 8192), "a").size == (8192, 8192)


@pytest.mark.parametrize(
    ("mode", "value", "fault"),
    [
        ("F", 1, "Pillow mode F"),
        ("LAB", 1, "Pillow mode LAB"),
        ("I", 70000, "values from 70000 to 70000, beyond 16 bits"),
        ("I", -1, "values from -1 to -1, beyond 16 bits"),
        ("I;16", 4095, "values up to 4095 of 65535, nearly black"),
    ],
)
def test_images_without_a_white_and_black_ones_of_16_bits_are_refused(mode: str, value: int, fault: str):
    data = _saved("PNG" if mode == "I;16" else "TIFF", Image.new(mode, (4, 4), value))
    with pytest.raises(ImageError, match=f"image a has {fault}") as caught:
        decode_image(open_image(data, "a"), "a")
    assert (caught.value.kind, caught.value.fault) == ("deep_image", fault)


def test_16_bits_are_scaled():
    grey = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    for kind, image in (("PNG", Image.fromarray(grey)), ("TIFF", Image.fromarray(grey.astype(np.int32)))):
        decoded = decode_image(open_image(_saved(kind, image), "a"), "a")
        assert np.asarray(decoded)[0].tolist() == [[value] * 3 for value in (0, 0, 1, 128, 255)]


@pytest.mark.parametrize(
    ("orientation", "rotated"), [(1, False), (2, True), (6, True), (8, True), (0, False), (9, False)]
)
def test_rotation_is_told_by_the_tag(orientation: int, rotated: bool):
    image = open_image(_turned(orientation), "a")
    assert is_rotated(image, "a") == rotated
    assert decode_image(image, "a").size == ((20, 8) if orientation in (6, 8) else (8, 20))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"Exif\0\0XXXXXXXX", b"Exif\0\0II*\0"])
def test_damaged_exif_data_are_damage(kind: str, exif: bytes):
    data = _saved(kind, exif=exif)
    for look in (is_rotated, decode_image):
        assert _kind(look, open_image(data, "a"), "a") == "truncated_image"


def test_files_that_are_none(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    kinds = {name: _kind(read_image_file, tmp_path / name) for name in ("no", "folder", "empty", "loop", "pipe")}
    assert (kinds.pop("empty"), kinds.pop("loop")) == ("empty_image", "unreadable_image")
    assert set(kinds.values()) == {"missing_image"}
    assert _kind(read_image_file, tmp_path / "empty" / "below") == "missing_image"
    assert _kind(read_image_file, tmp_path / ("long" * 100)) == "missing_image"


def test_an_absurd_file_is_not_read(tmp_path: Path):
    file = tmp_path / "a.jpg"
    file.touch()
    os.truncate(file, (1 << 28) + 1)
    assert _kind(read_image_file, file) == "huge_image"


def test_an_error_survives_the_way_from_a_worker():
    error = ImageError("image a has 0 bytes.", "empty_image", "fault")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.kind, copy.fault) == (str(error), "empty_image", "fault")
    assert str(ImageError(str(error))) == str(error)


def test_other_formats_are_not_tried():
    assert "EPS" not in images.IMAGE_FORMATS


@pytest.mark.parametrize("kind", FORMATS)
def test_damage_is_never_another_error(kind: str):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a text"
    whole = _saved(kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}))
    draw = random.Random(kind)
    outcomes = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(draw.choice((1, 3, 20))):
                data[draw.randrange(len(data))] = draw.randrange(256)
            cut = draw.choice((len(data), draw.randrange(1, len(data))))
            try:
                outcomes.add(decode_image(open_image(bytes(data[:cut]), "a"), "a").mode)
            except ImageError as error:
                outcomes.add(error.kind)
    assert "truncated_image" in outcomes
    assert outcomes <= {"RGB", "truncated_image", "not_an_image", "huge_image", "deep_image", "other_format"}


def test_damaged_exif_data_that_pillow_passes_over_do_not_travel(tmp_path: Path):
    data = _saved("JPEG", exif=b"Exif\0\0" + bytes(range(100, 200)))
    picture = decode_image(open_image(data, "a.jpg"), "a.jpg")
    assert images.to_rgb(picture).size == picture.size
