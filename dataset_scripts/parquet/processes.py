"""Run one job per shard, in this process or in several."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

__all__ = ["run_jobs"]

Result = TypeVar("Result")


def run_jobs(jobs: Mapping[str, Callable[[], Result]], num_proc: int) -> Iterator[tuple[str, Result]]:
    """Run jobs, yielding each name and result on completion.

    Args:
        jobs: name -> a picklable function without arguments.
        num_proc: processes, 1 or more; 1 runs the jobs here, in order.

    Raises:
        OSError: a process was killed.
        Exception: whatever a job raises; pending jobs are cancelled.
    """
    if num_proc == 1 or len(jobs) < 2:
        for name, job in jobs.items():
            yield name, job()
        return
    # Not forked: a copy of a process with threads (pyarrow's, torch's) may hang. Not a pool of `multiprocessing`: it
    # would wait for ever where the system kills one of its processes for memory.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(num_proc, len(jobs)), context, initializer=_end_with_parent) as pool:
        names = {pool.submit(job): name for name, job in jobs.items()}
        try:
            for future in as_completed(names):
                yield names[future], future.result()
        except BrokenProcessPool as error:
            raise OSError(
                "a process that converts was killed, by the system for want of memory perhaps. Run again with fewer "
                "processes: what is finished stays."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """Exit if the parent is killed, instead of waiting for work forever."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
