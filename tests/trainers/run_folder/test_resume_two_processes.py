"""A launch of two processes that is killed whole, at any instant, and goes on to the weights of an undisturbed one."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trainers.distributed.launch import launch_command

SETTINGS = {
    "--dataset_options": '{"train_identities": 8, "validation_identities": 3, "test_identities": 3}',
    "--stages": "one two",
    "--stage_one_max_steps": "12",
    "--stage_two_max_steps": "12",
    "--eval_steps": "6",
    "--save_steps": "3",
    "--log_steps": "3",
    "--batch_size": "8",
    "--num_workers": "0",
    "--report_to": "none",
    "--resume": "auto",
}
KILLS = 5


def start(folder: Path, data: Path) -> subprocess.Popen:
    options = [
        word for name, value in SETTINGS.items() for word in (name, *([value] if "{" in value else value.split()))
    ]
    command, environment = launch_command("two_cpu_processes", {"main_process_port": 0})
    command += ["-m", "trainers.two_stage", "--output_dir", str(folder), "--data_dir", str(data), *options]
    root = str(Path(__file__).parents[3])
    environment |= os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    log = open(folder.with_suffix(".log"), "ab")
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def finish(folder: Path, data: Path) -> dict[str, torch.Tensor]:
    process = start(folder, data)
    assert process.wait(600) == 0, folder.with_suffix(".log").read_text()[-3000:]
    return load_file(folder / "model" / "model.safetensors")


@pytest.mark.slow
def test_killed_at_five_instants(tmp_path):
    data = tmp_path / "data"
    finish(tmp_path / "warm", data)  # draws the data
    started = time.monotonic()
    whole = finish(tmp_path / "whole", data)
    duration = time.monotonic() - started
    draw, killed = random.Random(0), 0
    for number in range(KILLS):
        folder = tmp_path / f"run{number}"
        process = start(folder, data)
        try:
            process.wait(draw.uniform(0.45, 0.95) * duration)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        weights = finish(folder, data)
        for name, value in whole.items():
            torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-6)
    assert killed >= 4


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_launcher_passes_a_request_to_stop_on(number, tmp_path):
    """The launcher itself ends with an error, as torchrun does on any signal."""
    folder = tmp_path / "run"
    log = folder.with_suffix(".log")
    process = start(folder, tmp_path / "data")
    metrics = folder / "metrics.jsonl"
    while process.poll() is None and not (metrics.is_file() and '"train"' in metrics.read_text()):
        time.sleep(0.1)
    process.send_signal(number)
    process.wait(150)
    assert "asked to stop: stage one is saved at step" in log.read_text()
    assert list((folder / "checkpoints").glob("stage_one-step_*"))
    finish(folder, tmp_path / "data")
