"""Atomic files and folders: readers never find one half written.

They are written beside their place as `.NAME.<16 random hexadecimal digits>.tmp`. The writer holds a lock on it, so
the next writer can tell leftovers of a killed process from work in progress, and removes them. Where the system has no
such locks (Windows), leftovers stay.
"""

import errno
import json
import math
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "check_output",
    "make_folders",
    "new_folder",
    "refused_by_system",
    "remove_leftovers",
    "replacing",
    "scratch_folder",
    "sync",
    "without_non_finite",
    "write_atomically",
    "write_json",
]

_DIED = "One of the subprocesses has abruptly died"  # datasets, of its processes
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR)
_NO_LINKS, _NO_WAITING = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK"))
_LOCK = "lock"
_CONTENT = "content"
# Earlier versions put their process id where the random digits are.
_TEMPORARY = r"\.{name}\.(?:[0-9a-f]{{16}}|[0-9]+)\.tmp"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file, synced and renamed to `path` at the end.

    If the block raises, the temporary file is removed and `path` is unchanged.

    Raises OSError: the folder does not exist or cannot be written.
    """
    remove_leftovers(path.parent, path.name)
    temporary, descriptor = _temporary_file(path)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write `content` with `replacing`, creating missing folders.

    Raises OSError if the folder cannot be written; an old file is then unchanged.
    """
    path = Path(path)
    make_folders(path.parent)
    with replacing(path) as file:
        file.write(content)


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON atomically; numbers that are not finite become null.

    Raises TypeError for values that are not JSON types, OSError as `write_atomically`.
    """
    text = json.dumps(without_non_finite(value), allow_nan=False, ensure_ascii=False, indent=2)
    write_atomically(path, (text + "\n").encode())


def without_non_finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON lacks, by None, recursively."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: without_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_non_finite(item) for item in value]
    return value


@contextmanager
def new_folder(folder: str | Path, *, replace_empty: bool = False) -> Iterator[Path]:
    """Yield a temporary folder, synced and renamed to `folder` at the end.

    Its files, at any depth, become as readable as the user's umask allows; safetensors makes private ones. If the
    block raises, nothing is left behind.

    Args:
        folder: must not exist; missing parents are created.
        replace_empty: allow an empty folder to be replaced.

    Raises OSError: the folder exists or cannot be written.
    """
    folder = Path(folder)
    if os.path.lexists(folder) and not (replace_empty and folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists; name a folder that does not")
    make_folders(folder.parent)
    with _temporary_folder(folder, 0o777) as written:
        yield written
        # mkdir has applied the umask, which cannot be read without changing it for other threads.
        mode = stat.S_IMODE(written.stat().st_mode)
        for path in [*written.rglob("*"), written]:
            if not path.is_symlink():
                path.chmod(stat.S_IMODE(path.stat().st_mode) | (mode if path.is_dir() else mode & 0o666))
                sync(path)
        written.rename(folder)
        sync(folder.parent)


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """Yield a private temporary folder, removed at the end of the block.

    Leftovers of this name from killed processes of this user are removed too.
    """
    with _temporary_folder(Path(tempfile.gettempdir(), name), 0o700) as folder:
        yield folder


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove files that this user's killed writers left, for `name` or all.

    Files that another process is writing stay, as do links, and everything on file systems without locks.
    """
    pattern = re.compile(_TEMPORARY.format(name=".+" if name is None else re.escape(name)))
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if pattern.fullmatch(entry.name):
                _remove_leftover(Path(entry.path))


def make_folders(folder: Path) -> None:
    """Create a folder and its missing parents, each synced into its own.

    Raises OSError: one is a file, or cannot be created.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        sync(place.parent)


def sync(path: Path) -> None:
    """Flush a file or a folder's entries to disk against power cuts."""
    if os.name == "nt" and path.is_dir():  # which Windows cannot open
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _temporary_folder(folder: Path, mode: int) -> Iterator[Path]:
    remove_leftovers(folder.parent, folder.name)
    descriptor = None
    while descriptor is None:
        temporary = _temporary_name(folder)
        os.mkdir(temporary, mode)
        with suppress(FileNotFoundError):  # taken for a leftover before it was locked
            descriptor = _new_locked_file(temporary / _LOCK)
    try:
        content = temporary / _CONTENT
        os.mkdir(content, mode)
        yield content
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(descriptor)


def _temporary_file(path: Path) -> tuple[Path, int]:
    descriptor = None
    while descriptor is None:
        temporary = _temporary_name(path)
        descriptor = _new_locked_file(temporary)
    return temporary, descriptor


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def _new_locked_file(path: Path) -> int | None:
    """Create a file, locked while the returned descriptor is open.

    Returns None if another process removed it as a leftover before it was locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINKS, 0o666)
    with suppress(OSError):  # a file system without locks
        _lock(descriptor)
    if path.exists():
        return descriptor
    os.close(descriptor)
    return None


def _remove_leftover(path: Path) -> None:
    status = path.lstat()
    if fcntl is None or status.st_uid != os.geteuid():
        return
    if stat.S_ISREG(status.st_mode):
        with _if_unlocked(path) as unlocked:
            if unlocked:
                path.unlink(missing_ok=True)
    elif stat.S_ISDIR(status.st_mode):
        with suppress(OSError):
            path.rmdir()  # killed before there was a lock
            return
        with _if_unlocked(path / _LOCK) as unlocked:
            if unlocked or not (path / _LOCK).exists():
                shutil.rmtree(path, ignore_errors=True)


def _lock(descriptor: int, *, wait: bool = True) -> None:
    if fcntl is None:
        raise OSError("this system has no flock")
    fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def _if_unlocked(path: Path) -> Iterator[bool]:
    """Yield whether a file is unlocked, holding its lock during the block."""
    try:
        descriptor = os.open(path, os.O_RDWR | _NO_LINKS | _NO_WAITING)
    except OSError:
        yield False
        return
    try:
        try:
            _lock(descriptor, wait=False)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def check_output(path: Path, name: str = "output") -> None:
    """Check that a folder exists and is writable, or can be created, and that its disk is not full.

    Raises OSError: it is a file, read-only, or has no space left; the message names the setting `name`.
    """
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise OSError(f"{name} {path} cannot be a folder: {there} is a file; name another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OSError(f"{name} {path} cannot be written: {there} is read-only here; name another folder")
    if not shutil.disk_usage(there).free:
        raise OSError(
            f"{name} {path} cannot be written: the disk of {there} is full; make room, or name another folder"
        )


def refused_by_system(error: BaseException) -> str | None:
    """Tell in words if an error is a cache that cannot be written, a name outside the locale, or a killed process.

    Looks at what caused the error too; None for all others.
    """
    for cause in _causes(error):
        if isinstance(cause, UnicodeError) and sys.getfilesystemencoding() != "utf-8":
            return (
                f"this system's locale writes names in {sys.getfilesystemencoding()}, which lacks characters of this "
                f"one ({cause}); set PYTHONUTF8=1 in the environment"
            )
        if isinstance(cause, BrokenProcessPool) or _DIED in str(cause):
            return "the system ended a process that reads images, for want of memory perhaps; use fewer, by num_proc"
        if isinstance(cause, OSError) and cause.errno in _REFUSALS and _in_cache(cause.filename):
            return (
                f"the cache of models and data sets cannot be written: {cause.filename} ({cause.strerror}); set "
                "HF_HOME in the environment to a folder that can"
            )
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _in_cache(name: object) -> bool:
    """Whether a file lies in the cache, or is a folder above it, which could not be created."""
    if not isinstance(name, str | os.PathLike):
        return False
    cache = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser().absolute()
    path = Path(name).absolute()
    return path.is_relative_to(cache) or cache.is_relative_to(path)
