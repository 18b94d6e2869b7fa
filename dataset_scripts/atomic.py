"""Files that no reader finds half written, whenever the writer is killed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["remove_leftovers", "replacing", "sync"]


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file beside `path`; at the end of the block it is flushed to disk and renamed to `path`.

    Where the block raises, the temporary file is removed and `path` stays as it was.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files that killed writers left in `folder`; no writer may be at work there."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()


def sync(path: Path) -> None:
    """Flushes a file, or the entries of a folder, to disk: until then a power cut may undo a rename."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
