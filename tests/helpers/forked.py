"""`prompt-clip` in processes of their own, bounded in time and memory, without paying each time for imports."""

import functools
import multiprocessing
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import NamedTuple

__all__ = ["Outcome", "run_forked", "wrong_ending"]

MOST_BYTES = 4 << 30
SECONDS = 30


class Outcome(NamedTuple):
    """How a process ended."""

    status: int | None  # exit status, minus the number of the signal that ended it, None: it took too long
    stdout: str
    stderr: str
    peak_bytes: int
    seconds: float


def run_forked(arguments: Sequence[str], folder: Path, seconds: float = SECONDS) -> Outcome:
    """Run `prompt-clip` with `arguments`, its working folder and output files in `folder`."""
    context = multiprocessing.get_context("forkserver")
    _start_server()
    out, err = folder / ".stdout", folder / ".stderr"
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(list(arguments), str(folder), str(out), str(err), sender))
    start = time.monotonic()
    process.start()
    sender.close()
    process.join(seconds)
    late = process.is_alive()
    if late:
        os.killpg(process.pid, signal.SIGKILL) if _leads(process.pid) else process.kill()
        process.join()
    peak = receiver.recv() if not late and receiver.poll() else 0
    taken = time.monotonic() - start
    texts = [path.read_text(encoding="utf-8", errors="replace") if path.exists() else "" for path in (out, err)]
    return Outcome(None if late else process.exitcode, *texts, peak, taken)


@functools.cache
def _start_server() -> None:
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # gh-117378: a server does not look in sys.path otherwise
    try:
        multiprocessing.get_context("forkserver").set_forkserver_preload(["forked_modules"])
        forkserver.ensure_running()
        first = multiprocessing.get_context("forkserver").Process(target=int)
        first.start()
        first.join()  # it has imported them
    finally:
        if path is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = path


def _leads(pid: int) -> bool:
    return os.getpgid(pid) == pid


def _run(arguments: list[str], folder: str, out: str, err: str, sender) -> None:
    os.setsid()  # so that what it starts can be ended with it
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream.fileno())
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import torch

    from dataset_scripts.common.cli import main

    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        status = main(arguments)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sender.send(max(0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
    os._exit(status)


def wrong_ending(outcome: Outcome, *names: str) -> str:
    """Return what is wrong with the end of a command on damaged input; empty if nothing is.

    It ends in time and in 4 GB, in status 0, 1 or 2 and without traceback; a failure in one line of printable
    characters that has one of `names`.
    """
    if outcome.status is None:
        return f"no end after {outcome.seconds:.0f} s"
    if outcome.status not in (0, 1, 2):
        return f"status {outcome.status}: {outcome.stderr[-2000:]}"
    if outcome.peak_bytes > MOST_BYTES:
        return f"{outcome.peak_bytes:,} bytes"
    if "Traceback (most recent call last)" in outcome.stderr:
        return outcome.stderr[-3000:]
    if odd := re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e]", outcome.stdout + outcome.stderr):
        return f"prints {odd[0]!r} raw"
    if outcome.status:
        last = outcome.stderr.rstrip().rpartition("\n")[2]
        if ": error: " not in last:
            return f"the last line is no error: {last}"
        if not any(name in last for name in names):
            return f"names none of {names}: {last}"
    return ""
