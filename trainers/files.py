"""Files and folders that no reader finds half written: the old content or the new, whenever the writer is killed."""

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dataset_scripts.atomic import replacing, sync


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write to a temporary name in the same folder, flush it to disk, rename it; make missing folders.

    Raises:
        OSError: the folder cannot be written; the old file is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(content)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; numbers that are not finite become null.

    Raises:
        TypeError: something in `value` is not a JSON type.
        OSError: the folder cannot be written; the old file is as it was.
    """
    text = json.dumps(without_non_finite(value), allow_nan=False, ensure_ascii=False, indent=2)
    write_atomically(path, (text + "\n").encode())


def without_non_finite(value: Any) -> Any:
    """`value` with None for NaN and infinities, which JSON does not have; mappings and sequences are searched."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: without_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_non_finite(item) for item in value]
    return value


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a new folder under a temporary name, flush it to disk, and rename it into place.

    Args:
        folder: must not exist; its parent is made.
        write: fills the temporary folder that it is given.

    Raises:
        OSError: the disk is full, read-only, ...; nothing of the folder is left behind.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        write(temporary)
        for path in temporary.rglob("*"):
            sync(path)
        temporary.chmod(0o755)  # mkdtemp makes a private folder; a published one is readable
        temporary.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


__all__ = ["without_non_finite", "write_atomically", "write_folder", "write_json"]
