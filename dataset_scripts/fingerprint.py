"""Content hashes that key the caches, so that an edited file is never served from an old build."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["hash_files", "python_sources"]


def hash_files(files: Iterable[str | Path], *extra: str) -> str:
    """Hashes the contents of `files`, in their order, and the strings in `extra` (versions, say).

    Returns 16 hexadecimal digits of SHA-256: short enough for a folder name, long enough (64 bits) that two versions
    of a file never meet. Names and dates of the files do not count. Raises OSError for a file that cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        # Each part is hashed on its own, so that text moving from one file to the next changes the result.
        with open(file, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    for text in extra:
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()[:16]


def python_sources(subfolder: str = ".") -> list[Path]:
    """Returns the Python files of this package, or of one `subfolder` of it, sorted by name."""
    return sorted((Path(__file__).parent / subfolder).glob("*.py"))
