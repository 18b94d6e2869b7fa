"""Places and names that a system refuses: caches, outputs, locales."""

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

__all__ = ["check_output", "refused_by_system"]

_DIED = "One of the subprocesses has abruptly died"  # datasets, of its processes
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR)


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
