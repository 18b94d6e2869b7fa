"""Hashes of the files in a folder, compared before a run resumes from them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

WEIGHTS = ".safetensors"


def file_hashes(folder: Path) -> dict[str, str]:
    """Return SHA-256 of every file below a folder, by relative path, without hidden files.

    Raises OSError: a file cannot be read.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: _file_hash(path) for name, path in names.items() if not _hidden(name)}


def check_hashes(folder: Path, hashes: Mapping[str, str]) -> None:
    """Compare the files of a folder with their recorded hashes.

    Later files are ignored, except weights, which a loader would read.

    Raises:
        OSError: the folder or a file is missing, or cannot be read.
        ValueError: a file has changed, or there are more weights.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is missing")
    for name, expected in hashes.items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing")
        if _file_hash(path) != expected:
            raise ValueError(f"{path} is not what was written")
    for path in sorted(folder.rglob(f"*{WEIGHTS}")):
        name = path.relative_to(folder).as_posix()
        if name not in hashes and not _hidden(name):
            raise ValueError(f"{path} was not written by this run")


def is_hashes(value: object) -> bool:
    """Whether a JSON value can come from `file_hashes`: names inside the folder, hashes as text."""
    return isinstance(value, dict) and all(
        isinstance(digest, str) and not Path(name).is_absolute() and ".." not in Path(name).parts
        for name, digest in value.items()
    )


def _file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hidden(name: str) -> bool:
    """Whether a file is no data: remains of a removed file on NFS, additions of a Mac."""
    return any(part.startswith(".") for part in Path(name).parts)


__all__ = ["check_hashes", "file_hashes", "is_hashes"]
