"""Find the file that has nearly the name of a missing image."""

import os
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from dataset_scripts.common.images import IMAGE_SUFFIXES

__all__ = ["NearFiles"]

_MOST_FILES = 1_000_000  # listed; each takes about half a KB


class NearFiles:
    """Files of an image folder by their names, without what copies and editors change.

    Case, extension, spaces at the ends, the Unicode form and leading folders may differ. The folder is listed once, on
    the first question.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = str(folder)
        self._ends: dict[str, tuple[int, str]] | None = None  # end of a path -> the shortest path with it

    def find(self, image_id: str) -> str | None:
        """Return the nearest file's path below the folder; None if there is none."""
        if self._ends is None:
            self._ends = {}
            for path in islice(_images_in(self._folder), _MOST_FILES):
                parts = _plain(path)
                for start in range(len(parts)):
                    end, found = "/".join(parts[start:]), (len(parts), path)
                    self._ends[end] = min(found, self._ends.get(end, found))
        wanted = _plain(image_id)
        for start in range(len(wanted)):
            length, path = self._ends.get("/".join(wanted[start:]), (0, image_id))
            if path != image_id and (start == 0 or length == len(wanted) - start):  # one is the end of the other
                return path
        return None


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
