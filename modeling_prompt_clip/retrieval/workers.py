"""Loader processes that outlive requests to stop, and whose own end is told in words."""

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader

__all__ = ["REQUESTS", "WorkerLoader"]

REQUESTS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name))
"""Signals that ask a program to stop; Windows has no SIGUSR1."""

_OUT_OF_SHARED_MEMORY = ("bus error", "shared memory", "</torch_")
_deaths: list[str] = []  # torch's words about workers that died, as the system reported them


class WorkerLoader(DataLoader):
    """A DataLoader for programs that are asked to stop by signals.

    A cluster or a terminal sends a signal to all processes. Workers ignore `REQUESTS`, so the main process can finish
    its step and save; they end with it.

    Iterating raises OSError: the system killed a worker; it says so and what to try. torch would raise a RuntimeError
    at any line of the main process, in the middle of a checkpoint too.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        if options.get("num_workers"):
            options["worker_init_fn"] = _ignore_requests
        super().__init__(*args, **options)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if not self.num_workers:
            return super().__iter__()
        with _requests_held():  # until the workers ignore them
            batches = super().__iter__()
        _defer_deaths()
        return _in_words(batches)


def _in_words(batches: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from batches
    except RuntimeError as error:
        ended = re.findall(r"\d+", str(error))  # process ids, among others
        told = " ".join([str(error), *(death for death in _deaths if any(f"(pid {pid})" in death for pid in ended))])
        short = any(word in told.lower() for word in _OUT_OF_SHARED_MEMORY)
        if not short and "DataLoader worker (pid" not in told:
            raise
        raise ChildProcessError(_no_shared_memory() if short else _killed(told)) from None
    finally:
        del batches  # gh-118272: Python 3.12 keeps all variables, workers too, of a closed generator


def _killed(told: str) -> str:
    by = re.search(r"by signal: ([^.]+)\.", told)
    how = by[1].strip() if by else "it exited"
    return (
        f"the system ended a worker process that prepares images ({how}), for want of memory perhaps: lower "
        "num_workers or the batch size"
    )


def _no_shared_memory() -> str:
    return (
        "a worker process that prepares images found no room in shared memory, /dev/shm: enlarge it (docker run "
        "--shm-size=8g), lower num_workers or the batch size, or set num_workers to 0"
    )


def _ignore_requests(worker: int) -> None:
    """Ignore requests to stop, except the main process's own: a worker may be stuck when its loader ends."""
    for number in REQUESTS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # SIGTERM was blocked when this process was started, and stays so
        threading.Thread(target=_end_at_parents_word, args=(os.getppid(),), daemon=True).start()


def _end_at_parents_word(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        continue
    os._exit(0)


@contextmanager
def _requests_held() -> Iterator[None]:
    """Keep signals waiting during the block; processes started in it inherit this."""
    if not hasattr(signal, "sigwaitinfo"):  # not on Windows or macOS
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _defer_deaths() -> None:
    """Keep torch's handler of dead workers from raising; the loader finds them when it waits for a batch."""
    if not hasattr(signal, "SIGCHLD"):
        return
    handler = signal.getsignal(signal.SIGCHLD)
    if not callable(handler) or isinstance(handler, _Deferred):
        return
    try:
        signal.signal(signal.SIGCHLD, _Deferred(handler))
    except ValueError:  # not the main thread, where torch sets no handler either
        return


class _Deferred:
    """A signal handler that keeps an error's words."""

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self.handler(number, frame)
        except RuntimeError as error:
            _deaths.append(str(error))
