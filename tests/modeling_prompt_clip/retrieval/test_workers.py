import multiprocessing
import os
import signal
import time

import pytest
import torch
from torch.utils.data import Dataset

from modeling_prompt_clip.retrieval.workers import REQUESTS, WorkerLoader


class Numbers(Dataset):
    """Row 3 does something to its worker, or to all processes of a group."""

    def __init__(self, act=None):
        self.act = act

    def __len__(self):
        return 8

    def __getitem__(self, row):
        if self.act and row == 3:
            self.act()
        return row


class Send:
    def __init__(self, number):
        self.number = number

    def __call__(self):
        os.kill(os.getpid(), self.number)


def run_out():
    raise RuntimeError("unable to write to file </torch_123_45_0>: No space left on device (28)")


def stall():
    time.sleep(1000)


def fail():
    raise RuntimeError("a bug of the data set")


@pytest.mark.parametrize("number", REQUESTS)
def test_workers_outlive_a_request_to_stop(number):
    assert list(WorkerLoader(Numbers(Send(number)), batch_size=None, num_workers=2)) == list(range(8))


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (
            Send(signal.SIGKILL),
            r"^the system ended a worker .* \(Killed\), for want of memory perhaps: lower num",
        ),
        (
            Send(signal.SIGBUS),
            r"^a worker .* no room in shared memory, /dev/shm: enlarge it .*num_workers to 0$",
        ),
        (run_out, "^a worker process .* no room in shared memory"),
    ],
)
def test_a_worker_that_the_system_ends_is_told_of_in_one_line(act, words):
    with pytest.raises(OSError, match=words) as caught:
        list(WorkerLoader(Numbers(act), batch_size=None, num_workers=2))
    assert "\n" not in str(caught.value)


def test_the_end_of_a_worker_does_not_interrupt_other_work():
    """torch raises in a signal handler: while a checkpoint was written, that checkpoint could not be written."""
    batches = iter(WorkerLoader(Numbers(Send(signal.SIGKILL)), batch_size=None, num_workers=1))
    assert next(batches) == 0
    ends = time.monotonic() + 1
    while time.monotonic() < ends:
        torch.zeros(1)
    with pytest.raises(OSError, match="Killed"):
        list(batches)


def test_other_errors_of_a_worker_stay():
    with pytest.raises(RuntimeError, match="a bug of the data set"):
        list(WorkerLoader(Numbers(fail), batch_size=None, num_workers=1))


def test_the_main_process_hears_a_request_as_before():
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append(True))
    try:
        batches = iter(WorkerLoader(Numbers(), batch_size=None, num_workers=1))
        os.kill(os.getpid(), signal.SIGUSR1)
        assert list(batches) == list(range(8)) and heard == [True]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_stuck_worker_ends_with_its_loader():
    """One that ignored SIGTERM from everybody kept the program from ending."""
    before = set(multiprocessing.active_children())
    batches = iter(WorkerLoader(Numbers(stall), batch_size=None, num_workers=2))
    assert next(batches) == 0
    workers = set(multiprocessing.active_children()) - before
    for worker in workers:
        worker.terminate()
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0, 0]
    del batches
