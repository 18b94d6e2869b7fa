"""One writer for each run folder."""

import errno
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"
NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP})
READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})

logger = logging.getLogger(__name__)


@contextmanager
def only_writer(folder: str | Path, wait: float = 0.0) -> Iterator[None]:
    """Keep other processes from writing into a run folder, which is created if missing.

    The lock ends with the process, so a killed run needs no cleaning up. The thread that holds the lock may take it
    again. On a file system without locks the block runs anyway, with a warning.

    Args:
        folder: of the run.
        wait: seconds to wait for another holder.

    Raises OSError: another process has the lock, or the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.resolve() / LOCK, is_singleton=True, fallback_to_soft=False)
    try:
        lock.acquire(timeout=wait)
    except Timeout as error:
        raise OSError(_in_use(folder)) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise OSError(f"{folder / LOCK} cannot be locked ({error}); remove it, or name another folder") from error
        logger.warning(
            "the file system of %s has no locks (%s): see to it that no other process writes there", folder, error
        )
        yield
        return
    try:
        _sign(folder)
        yield
    finally:
        lock.release()


def check_unused(folder: str | Path) -> None:
    """Check that no process is writing into a run folder; leaves no file there.

    Raises OSError: a process is.
    """
    if not Path(folder, LOCK).is_file():
        return
    try:
        with only_writer(folder):
            pass
    except OSError as error:
        if getattr(error.__cause__, "errno", None) not in READ_ONLY:  # whoever may not write may still read
            raise


def _in_use(folder: Path) -> str:
    try:
        writer = (folder / LOCK).read_text(encoding="utf-8", errors="replace")[:200].strip()
    except OSError:
        writer = ""
    return (
        f"run folder {folder} is in use: {writer or 'another process'} writes into it. Wait for it to end, stop it, "
        "or name another folder"
    )


def _sign(folder: Path) -> None:
    """Write the holder into the lock, for the message to others."""
    writer = f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')},"
    try:
        (folder / LOCK).write_text(writer, encoding="utf-8")
    except OSError as error:  # a full disk, say: the lock itself is held
        logger.debug("%s cannot be signed: %s", folder / LOCK, error)


__all__ = ["check_unused", "only_writer"]
