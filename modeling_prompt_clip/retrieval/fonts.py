"""Fonts of this machine that have the letters of a text."""

import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

__all__ = ["Font", "font_for"]

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_MOST_FILES = 3000
# Of many scripts first, and plain before bold: any of them draws what Pillow's own font, of Latin letters, lacks.
_PREFERRED = "notosanscjk sourcehansans notosans dejavusans arialunicode pingfang hiragino msyh meiryo malgun".split()
_UNKNOWN = "\U0010fffd"  # of no script: what a font draws for a letter that it lacks


def font_for(text: str, size: int) -> Font | None:
    """Return a font of `size` pixels with all letters of a text; None if this machine has none.

    Pillow's own font is taken if it has them.
    """
    letters = frozenset(letter for letter in text if not letter.isspace() and letter.isprintable())
    default = ImageFont.load_default(size=size)
    if not isinstance(default, ImageFont.FreeTypeFont) or letters <= set(map(chr, range(32, 127))):
        return default
    if _has_all(default, letters):
        return default
    file = _file_with(letters)
    return ImageFont.truetype(file, size) if file else None


@lru_cache(maxsize=256)
def _file_with(letters: frozenset[str]) -> str | None:
    for file in _font_files():
        try:
            if _has_all(ImageFont.truetype(file, 16), letters):
                return file
        except (OSError, ValueError):  # no font that FreeType reads
            continue
    return None


def _has_all(font: ImageFont.FreeTypeFont, letters: frozenset[str]) -> bool:
    missing = _drawn(font, _UNKNOWN)
    return all(_drawn(font, letter) != missing for letter in letters)


def _drawn(font: ImageFont.FreeTypeFont, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


@lru_cache(maxsize=1)
def _font_files() -> list[str]:
    files = [file for folder in _folders() for file in _files_in(folder)]
    return sorted(files[:_MOST_FILES], key=_preference)


def _folders() -> list[Path]:
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", "C:/Windows"), "Fonts")]
    home = Path.home()
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".local/share/fonts", home / ".fonts"]


def _files_in(folder: Path) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        yield from (os.path.join(place, name) for name in names if name.lower().endswith((".ttf", ".otf", ".ttc")))


def _preference(file: str) -> tuple[int, bool, str]:
    name = Path(file).stem.lower().replace("-", "").replace(" ", "")
    rank = next((rank for rank, start in enumerate(_PREFERRED) if name.startswith(start)), len(_PREFERRED))
    return rank, any(style in name for style in ("bold", "italic", "oblique", "mono", "light", "condensed")), file
