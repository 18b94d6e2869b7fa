import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from accelerate import Accelerator

from trainers.distributed.preemption import StopRequest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_request_is_heard_and_the_handler_put_back(number):
    before = signal.getsignal(number)
    with StopRequest(Accelerator(cpu=True)) as request:
        assert not request.agreed()
        os.kill(os.getpid(), number)
        assert request.agreed()
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_nothing_is_caught():
    before = signal.getsignal(signal.SIGTERM)
    heard = []

    def enter() -> None:
        with StopRequest(Accelerator(cpu=True)) as request:
            heard.append(request.agreed())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert heard == [False] and signal.getsignal(signal.SIGTERM) is before


def test_the_first_interrupt_is_a_request_and_the_second_ends_at_once(capfd):
    with StopRequest(Accelerator(cpu=True)) as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.agreed()
        assert "saving after this step; press it again to stop at once" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


TRAIN = [
    *("train", "--dataset_options", '{"train_identities": 8, "validation_identities": 2, "test_identities": 2}'),
    *"--stage_one_max_steps 500 --eval_steps 500 --log_steps 1 --batch_size 8 --report_to none --stages one".split(),
    *"--num_workers 2 --image_size 96 32".split(),
]


@pytest.mark.slow
@pytest.mark.parametrize("launch", [[], ["--launch", "two_cpu_processes", "--main_process_port", "0"]])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_to_the_whole_group_saves_and_ends(tmp_path, launch, number):
    """The loader's workers died of it: 45 lines of traceback, and nothing saved."""
    folder, log = tmp_path / "run", tmp_path / "log"
    root = str(Path(__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "modeling_prompt_clip.cli", *TRAIN, *launch]
    command += ["--output_dir", str(folder), "--data_dir", str(tmp_path / "data")]
    with open(log, "wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
    try:
        metrics = folder / "metrics.jsonl"
        while process.poll() is None and not (metrics.is_file() and '"train"' in metrics.read_text()):
            time.sleep(0.1)
        os.killpg(process.pid, number)
        process.wait(150)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    words = log.read_text()
    assert "asked to stop: stage one is saved at step" in words and "to resume: prompt-clip train --dataset_" in words
    assert words.count("--launch two_cpu_processes") == bool(launch)
    assert list((folder / "checkpoints").glob("stage_one-step_*"))
    if not launch:  # torchrun ends with an error of its own
        assert "Traceback" not in words, words
        assert process.returncode == (130 if number == signal.SIGINT else 0)
