"""A folder that nobody finds half written: it is there whole, or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["new_folder"]


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Make a folder under a temporary name, which is filled in the block, flushed to disk and renamed at its end.

    Where the block fails, nothing is left behind.

    Args:
        folder: the folder to make; it must not exist. Missing parents are made.

    Yields:
        The empty folder to fill.

    Raises:
        OSError: the folder exists or cannot be written.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists; name a folder that does not")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        written = Path(temporary, folder.name)
        written.mkdir()
        yield written
        for path in [*written.iterdir(), written]:
            _sync(path)
        written.rename(folder)
        _sync(folder.parent)


def _sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
