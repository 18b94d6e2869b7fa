"""Jobs in several processes: their results, their errors, and what happens when one of them is killed."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from dataset_scripts.parquet.processes import run_jobs


def test_one_process_runs_in_order():
    ran = []
    for name, result in run_jobs({name: partial(ran.__iadd__, name) for name in "cab"}, 1):
        assert ran[-1] == name and result is ran
    assert ran == ["c", "a", "b"]


@pytest.mark.slow
def test_an_error_ends_the_rest():
    jobs = {"bad": partial(int, "x"), **{str(number): partial(time.sleep, 0.5) for number in range(20)}}
    start = time.monotonic()
    with pytest.raises(ValueError, match="invalid literal"):
        list(run_jobs(jobs, 2))
    assert time.monotonic() - start < 9


@pytest.mark.slow
def test_a_killed_process_is_said():
    jobs = {"bad": partial(os.abort), "good": partial(time.sleep, 0.1)}
    with pytest.raises(OSError, match="a process that converts was killed"):
        list(run_jobs(jobs, 2))


@pytest.mark.slow
def test_processes_end_with_their_parent(tmp_path):
    """The parent is killed as it waits for its processes; they must not stay."""
    script = """
from functools import partial
from dataset_scripts.parquet.processes import run_jobs

if __name__ == "__main__":
    job = "import os, time; open('pids', 'a').write(f'{os.getpid()} '); time.sleep(60)"
    list(run_jobs({name: partial(exec, job) for name in "ab"}, 2))
"""
    (tmp_path / "parent.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path, env=environment)
    pids = tmp_path / "pids"
    _wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids.read_text().split()))


def _wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
