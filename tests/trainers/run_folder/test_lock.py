"""One writer for each run folder; a killed one's lock is gone with it."""

import errno
import multiprocessing
import os
import signal
import threading

import pytest

from trainers import TwoStageTrainer
from trainers.run_folder.lock import check_unused, only_writer


def hold(folder, ready) -> None:
    with only_writer(folder):
        ready.set()
        signal.pause()


@pytest.fixture
def holder(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path / "run", ready))
    process.start()
    assert ready.wait(30)
    yield process
    process.kill()
    process.join()


def test_a_second_writer_is_refused_until_the_first_is_killed(holder, tmp_path):
    for enter in (lambda: only_writer(tmp_path / "run").__enter__(), lambda: check_unused(tmp_path / "run")):
        with pytest.raises(OSError, match=rf"run is in use: process {holder.pid} on .* Wait for it to end, stop it"):
            enter()
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with only_writer(tmp_path / "run"):
        pass


def test_a_trainer_beside_another_changes_nothing(holder, make_args, splits, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match="is in use"):
        TwoStageTrainer(make_args(), splits=splits)
    assert sorted(tmp_path.rglob("*")) == before


def test_only_the_main_process_looks_whether_the_folder_is_used(holder, make_args, splits, monkeypatch):
    """Several processes of one launch, each taking the lock for a moment, would refuse each other."""
    monkeypatch.setattr("trainers.two_stage.from_main_process", lambda accelerator, work: None)  # as on the others
    TwoStageTrainer(make_args(), splits=splits)


def test_the_same_thread_may_enter_twice_and_another_may_not(tmp_path):
    errors = []

    def other() -> None:
        try:
            check_unused(tmp_path)
        except OSError as error:
            errors.append(str(error))

    with only_writer(tmp_path), only_writer(tmp_path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(errors) == 1 and "in use" in errors[0]
    check_unused(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_said_and_used(tmp_path, monkeypatch, caplog, number):
    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    entered = []
    with only_writer(tmp_path):
        entered.append(True)
    assert entered and "has no locks" in caplog.text
