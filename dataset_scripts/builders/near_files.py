"""Find the file that has nearly the name of a missing image."""

import os
import unicodedata
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from dataset_scripts.common.images import IMAGE_SUFFIXES

__all__ = ["NearFiles", "near_folder"]

_IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs", "photos", "pictures"})


class NearFiles:
    """Files of an image folder by their names, without what copies and editors change.

    Case, extension, spaces at the ends, the Unicode form and leading folders may differ. The folder is listed once, on
    the first question.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = str(folder)
        self._files: dict[str, list[tuple[list[str], str]]] | None = None

    def find(self, image_id: str) -> str | None:
        """Return the nearest file's path below the folder; None if there is none."""
        if self._files is None:
            self._files = {}
            for path in _images_in(self._folder):
                parts = _plain(path)
                self._files.setdefault(parts[-1], []).append((parts, path))
        wanted = _plain(image_id)
        near = []
        for parts, path in self._files.get(wanted[-1], ()):
            pairs = zip(reversed(parts), reversed(wanted), strict=False)
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            if shared == min(len(parts), len(wanted)) and path != image_id:  # one is the end of the other
                near.append((-shared, len(parts), path))
        return min(near)[2] if near else None


def near_folder(folder: Path, name: str) -> str | None:
    """Return the folder in `folder` that holds the images in place of the missing `name`; None without one."""
    known = _IMAGE_FOLDERS if name.casefold() in _IMAGE_FOLDERS else {name.casefold()}
    found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name.casefold() in known)
    return found[0] if found else None


def _images_in(folder: str) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        below = os.path.relpath(place, folder).replace(os.sep, "/")
        prefix = "" if below == "." else f"{below}/"
        for name in sorted(names):
            if name[0] != "." and os.path.splitext(name.strip())[1].lower() in IMAGE_SUFFIXES:
                yield prefix + name


def _plain(path: str) -> list[str]:
    parts = [part.strip() for part in unicodedata.normalize("NFC", path).casefold().split("/")]
    while parts[-1].endswith(tuple(IMAGE_SUFFIXES)):
        parts[-1] = os.path.splitext(parts[-1])[0]
    return parts
