"""Tell by its first bytes what a file is that Pillow cannot read as a picture."""

import re
from typing import NamedTuple

__all__ = ["BYTES_NEEDED", "Foreign", "recognize"]

BYTES_NEEDED = 1024
"""First bytes of a file that `recognize` looks at."""


class Foreign(NamedTuple):
    """A file that is no picture of a format that is read."""

    kind: str  # key in `dataset_scripts.annotations.problems.PROBLEMS`
    what: str  # a few words: "a HEIC picture"
    remedy: str  # a sentence


_CONVERT = "Convert it to JPEG or PNG, for example with ImageMagick: magick FILE FILE.png."
_LFS = Foreign("pointer_image", "a pointer of Git LFS", "Fetch the pictures: git lfs pull.")
_ANNEX = Foreign("pointer_image", "a pointer of git-annex", "Fetch the pictures: git annex get .")
_APPLE = Foreign(
    "not_an_image", "a ._ file that macOS adds to copies", "Delete such files: find . -name '._*' -delete."
)
_PAGE = Foreign("not_an_image", "an HTML page", "The download failed, with a page in place of the picture: repeat it.")
_PLAIN_TEXT = re.compile(rb"[\t\r\n -~]+")
_LINK = re.compile(rb"[\w./\\-]*\.?git/annex/objects/|/annex/objects/")
_STARTS = (
    (b"version https://git-lfs", _LFS),
    (b"version https://hawser", _LFS),
    (b"\x00\x05\x16\x07", _APPLE),
    (b"\x00\x05\x16\x00", _APPLE),
    *(
        (start, Foreign("other_format", f"a {what} file", _CONVERT))
        for start, what in (
            (b"\xff\x0a", "JPEG XL"),
            (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
            (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
            (b"\xff\x4f\xff\x51", "JPEG 2000"),
            (b"8BPS", "Photoshop"),
            (b"gimp xcf", "GIMP"),
            (b"%PDF-", "PDF"),
            (b"%!PS", "PostScript"),
            (b"\xc5\xd0\xd3\xc6", "PostScript"),
            (b"\x00\x00\x01\x00", "Windows icon"),
            (b"DDS ", "DirectDraw"),
            (b"\x76\x2f\x31\x01", "OpenEXR"),
            (b"#?RADIANCE", "Radiance HDR"),
            (b"\x93NUMPY", "NumPy"),
        )
    ),
    *(
        (start, Foreign("not_an_image", what, "Delete it or remove its row."))
        for start, what in (
            (b"\x00\x00\x00\x01Bud1", "a .DS_Store file of macOS"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a Thumbs.db or Office file of Windows"),
            (b"SQLite format 3\x00", "an SQLite database"),
            (b"\x7fELF", "a program"),
            (b"MZ", "a program"),
        )
    ),
    *(
        (start, Foreign("not_an_image", f"a {what} archive", "Unpack it."))
        for start, what in ((b"PK\x03\x04", "ZIP"), (b"\x1f\x8b", "gzip"), (b"7z\xbc\xaf", "7z"), (b"Rar!", "RAR"))
    ),
    *(
        (start, Foreign("not_an_image", "a video", "Save its frames as pictures: ffmpeg -i FILE %06d.jpg."))
        for start in (b"\x1a\x45\xdf\xa3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"FLV\x01", b"OggS")
    ),
)
_VIDEO = _STARTS[-1][1]
_HEIC = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_AVIF = Foreign("other_format", "an AVIF picture that this Pillow cannot read", f"Update Pillow, or: {_CONVERT}")


def recognize(data: bytes) -> Foreign:
    """Say what the first `BYTES_NEEDED` bytes of a file belong to.

    >>> recognize(b"%PDF-1.7").what
    'a PDF file'
    """
    head = data[:BYTES_NEEDED]
    if not head.strip(b"\0"):
        return Foreign("not_an_image", "nothing but zero bytes", "The copy was cut off: copy it again.")
    if head[4:8] == b"ftyp":
        return _of_brand(head)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _VIDEO
    for start, found in _STARTS:
        if head.startswith(start):
            return found
    return _ANNEX if _LINK.match(head) else _of_text(head)


def _of_brand(head: bytes) -> Foreign:
    brand = head[8:12]
    if brand in (b"avif", b"avis") or (brand in (b"mif1", b"msf1") and b"avif" in head[12:64]):
        return _AVIF
    return Foreign("other_format", "a HEIC file", _CONVERT) if brand in _HEIC else _VIDEO


def _of_text(head: bytes) -> Foreign:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    lower = text.lower()
    if b"<svg" in lower:
        return Foreign("other_format", "an SVG drawing", _CONVERT)
    if lower.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in lower:
        return _PAGE
    # The text itself is not shown: a set of somebody else's may name a file that is none of its business.
    what = "a text" if text and _PLAIN_TEXT.fullmatch(text) else "no image"
    return Foreign("not_an_image", what, "Restore it from the original archive.")
