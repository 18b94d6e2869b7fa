"""Launches by name, and runs started as users start them: on one process and on two, at ViT-B/16's size."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.utils.other import get_free_port
from PIL import Image
from transformers import CLIPConfig, CLIPModel

from trainers.configs.recipes import read_recipe
from trainers.distributed.launch import launch_command, launch_file, launch_names, main, relaunch
from trainers.run_folder.metrics_log import read_metrics

WORDS = ("red", "blue", "green", "grey", "black", "white")
SPLITS = {"train": range(1, 7), "val": range(7, 10), "test": range(10, 13)}


# what every process of a launch does in the quick tests: check, meet, and add up over the processes
PROBE = """
import sys
import torch
from accelerate import Accelerator
from trainers.distributed.launch_check import check_launch
accelerator = Accelerator(cpu=True)
try:
    check_launch(accelerator)
except ValueError as error:
    sys.exit(str(error))
total = accelerator.reduce(torch.tensor(accelerator.process_index + 1.0))
print(f"process {accelerator.process_index} of {accelerator.num_processes}: {accelerator.distributed_type} {total:g}")
accelerator.end_training()
"""


@pytest.fixture
def gpus(monkeypatch):
    """Make torch see a number of GPUs; nothing but our own environment counts."""
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    return lambda count: monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_names_lead_to_files_and_a_slip_to_the_nearest_name(capsys):
    for name in launch_names():
        assert launch_file(name).is_file()
        assert main([name]) == 0
        assert capsys.readouterr().out == f"{launch_file(name)}\n"
    with pytest.raises(ValueError, match="launch is 'fsdp'; did you mean 'fsdp2'"):
        launch_file("fsdp")
    with pytest.raises(SystemExit, match="2"):
        main(["dpp"])
    assert "did you mean 'ddp'" in capsys.readouterr().err


def test_the_list_names_every_configuration(capsys):
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == launch_names()
    assert all(len(line) > 30 and not line.endswith(",") for line in lines)


@pytest.mark.parametrize(
    ("name", "options", "processes"),
    [
        ("ddp", {}, 8),
        ("ddp", {"num_processes": 3}, 3),
        ("fsdp2", {}, 8),
        ("multi_node", {"num_machines": 4, "machine_rank": 1, "main_process_ip": "10.0.0.1"}, 32),
        ("two_cpu_processes", {}, 2),
    ],
)
def test_all_gpus_are_used_unless_told_otherwise(name, options, processes, gpus):
    gpus(8)
    command, environment = launch_command(name, options)
    assert command[:5] == [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(launch_file(name))]
    flags = dict(zip(command[5::2], command[6::2], strict=True))
    expected = options | {"num_processes": processes}
    assert flags == {f"--{key}": str(value) for key, value in expected.items()}
    assert environment["PROMPT_CLIP_PROCESSES"] == str(processes)
    assert "SIGUSR1" in environment["PET_SIGNALS_TO_HANDLE"]
    assert ("ACCELERATE_USE_CPU" in environment) == (name == "two_cpu_processes")


@pytest.mark.parametrize(
    ("name", "count", "options", "message"),
    [
        ("ddp", 0, {}, "torch sees no GPU.*drop --launch"),
        ("ddp", 1, {}, "num_processes is 1.*at least 2"),
        ("ddp", 2, {"num_processes": 4}, r"4 on 1 machine.*sees 2 GPU"),
        ("one_gpu", 2, {"num_processes": 2}, "num_processes is 2.*take ddp"),
        ("multi_node", 4, {"num_processes": 5}, "5 on 2 machines.*multiple"),
        ("multi_node", 4, {"num_processes": 4, "num_machines": 0}, "4 on 0 machines"),
        ("deepspeed_zero2", 4, {}, 'DeepSpeed is not installed; run pip install -e "\\.\\[deepspeed\\]"'),
        ("dp", 4, {}, "did you mean 'ddp'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(name, count, options, message, gpus, monkeypatch):
    gpus(count)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda what: None if what == "deepspeed" else find_spec(what))
    with pytest.raises(ValueError, match=message):
        launch_command(name, options)


def test_train_becomes_the_launch_and_keeps_its_other_arguments(gpus, monkeypatch):
    gpus(2)
    calls = []
    monkeypatch.setattr(os, "execve", lambda *call: calls.append(call))
    relaunch(["--config", "cuhk_pedes", "--num_workers", "4"])
    assert not calls
    relaunch(["--config", "cuhk_pedes", "--launch", "ddp", "--num_workers", "4", "--main_process_port", "29501"])
    program, command, environment = calls[0]
    assert program == sys.executable
    assert command[-6:] == ["-m", "trainers.two_stage", "--config", "cuhk_pedes", "--num_workers", "4"]
    assert command[5:9] == ["--main_process_port", "29501", "--num_processes", "2"]
    assert environment["PROMPT_CLIP_PROCESSES"] == "2" and environment["PATH"] == os.environ["PATH"]


def test_one_process_is_started_without_a_launcher_that_would_keep_signals_from_it(gpus):
    gpus(8)
    assert launch_command("one_gpu", {}) == ([sys.executable], {"PROMPT_CLIP_PROCESSES": "1"})


def start(*options: str, script: Path) -> subprocess.Popen:
    """Start a script by `accelerate launch`, offline, with one thread a process, on a port that is free."""
    root = str(Path(__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "accelerate.commands.launch", "--main_process_port", "0", *options, str(script)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


@pytest.fixture
def probe(tmp_path) -> Path:
    script = tmp_path / "probe.py"
    script.write_text(PROBE)
    return script


def test_two_cpu_processes_are_two(probe):
    launched = start("--config_file", str(launch_file("two_cpu_processes")), script=probe)
    printed, errors = launched.communicate()
    assert launched.returncode == 0, errors[-3000:]
    for rank in range(2):
        assert f"process {rank} of 2: DistributedType.MULTI_CPU 3" in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cpu", "--num_processes", "2"], "made of 1 process(es), but accelerate launch was asked for several"),
        (["--config_file", "fsdp2", "--num_processes", "2"], "accelerate made MULTI_CPU of it on cpu"),
    ],
)
def test_what_accelerate_silently_makes_smaller_is_an_error(options, message, probe):
    options = [str(launch_file(option)) if option in launch_names() else option for option in options]
    launched = start(*options, script=probe)
    _, errors = launched.communicate()
    assert launched.returncode != 0
    assert message in errors and "--launch two_cpu_processes" in errors


@pytest.mark.slow
def test_two_machines_meet(probe):
    """Two launchers of one process each, on this machine, are two machines to accelerate."""
    port = str(get_free_port())
    options = ("--config_file", str(launch_file("multi_node")), "--num_processes", "2", "--main_process_port", port)
    machines = [start(*options, "--machine_rank", str(rank), script=probe) for rank in range(2)]
    for rank, machine in enumerate(machines):
        printed, errors = machine.communicate()
        assert machine.returncode == 0, errors[-3000:]
        assert f"process {rank} of 2: DistributedType.MULTI_CPU 3" in printed


@pytest.fixture(scope="module")
def cuhk_folder(tmp_path_factory) -> Path:
    """The exact layout of CUHK-PEDES, with two noisy images and two captions an image for a dozen persons."""
    folder = tmp_path_factory.mktemp("data") / "CUHK-PEDES"
    rows = []
    for split, persons in SPLITS.items():
        for person in persons:
            for view, camera in enumerate(("cam_a", "train_query")):
                name = f"{camera}/{person:05d}_{view}.jpg"
                path = folder / "imgs" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng((person, view)).integers(256, size=(160, 64, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path)
                color = WORDS[person % len(WORDS)]
                captions = [f"A man in a {color} coat.", f"He wears {color} shoes and carries a bag."]
                rows.append({"split": split, "captions": captions, "file_path": name, "id": person})
    (folder / "reid_raw.json").write_text(json.dumps(rows))
    return folder


def launch(*command: str) -> subprocess.CompletedProcess:
    """Run a command offline with one thread a process; stop the test with its words if it fails."""
    root = str(Path(__file__).parents[3])
    settings = {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | settings)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def save_tokenizer_of_openai_size(tiny: Path, folder: Path) -> None:
    """The tiny tokenizer, filled up to CLIP's 49,408 tokens with ones that no caption holds."""
    *tokens, start, end = json.loads((tiny / "vocab.json").read_text())
    tokens += [f"unused{number}" for number in range(49408 - len(tokens) - 2)]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate([*tokens, start, end])}))
    for name in ("merges.txt", "tokenizer_config.json"):
        shutil.copy(tiny / name, folder)


@pytest.mark.slow
def test_the_real_layout_trains_at_real_size(cuhk_folder, tiny_clip_folder, tmp_path):
    """`accelerate launch -m trainers.two_stage --config cuhk_pedes` from a random ViT-B/16, both stages, on a CPU."""
    base = tmp_path / "vit_b_16"
    config = CLIPConfig(vision_config={"image_size": 224, "patch_size": 16}, projection_dim=512)
    CLIPModel(config).save_pretrained(base)
    save_tokenizer_of_openai_size(tiny_clip_folder, base)
    out = tmp_path / "run"
    steps = ["--stage_one_max_steps", "2", "--stage_two_max_steps", "2", "--batch_size", "4", "--num_workers", "0"]
    done = launch(
        *(sys.executable, "-m", "accelerate.commands.launch", "-m", "trainers.two_stage", "--config", "cuhk_pedes"),
        *("--data_dir", str(cuhk_folder), "--base_model", str(base), "--output_dir", str(out), *steps),
    )
    assert "R@1" in done.stdout
    records = read_metrics(out / "metrics.jsonl")
    assert {record["stage"] for record in records} == {"one", "two"}
    assert [entry["split"] for entry in json.loads((out / "results.json").read_text())][-1] == "test"
    adapter = out / "adapter" / "adapter_model.safetensors"
    assert adapter.stat().st_size < 1_000_000
    config = json.loads((out / "model" / "config.json").read_text())
    assert config["vision_config"]["image_size"] == read_recipe("cuhk_pedes")["image_size"] == [384, 128]


@pytest.mark.slow
def test_two_processes_train_as_one(cuhk_folder, tiny_clip_folder, tmp_path):
    """The same global batches on two gloo processes give the losses of one process."""

    def losses(name: str, launcher: list[str], batch_size: int) -> torch.Tensor:
        out = tmp_path / name
        launch(
            *(sys.executable, "-m", "modeling_prompt_clip.cli", "train", *launcher, "--config", "cuhk_pedes"),
            *("--data_dir", str(cuhk_folder), "--base_model", str(tiny_clip_folder), "--output_dir", str(out)),
            *("--image_size", "96", "32", "--batch_size", str(batch_size), "--mixed_precision", "no"),
            *("--stage_one_max_steps", "4", "--stage_two_max_steps", "4", "--log_steps", "1", "--num_workers", "0"),
        )
        records = [record for record in read_metrics(out / "metrics.jsonl") if record["split"] == "train"]
        return torch.tensor([record["loss"] for record in records])

    one = losses("one", [], batch_size=8)
    two = losses("two", ["--launch", "two_cpu_processes", "--main_process_port", "0"], batch_size=4)
    assert len(one) == 8
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)
