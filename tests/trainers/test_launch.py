"""Runs started as users start them: by accelerate, on one process and on two, at ViT-B/16's size."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel

from trainers.recipes import read_recipe
from trainers.tracking import read_metrics

WORDS = ("red", "blue", "green", "grey", "black", "white")
SPLITS = {"train": range(1, 7), "val": range(7, 10), "test": range(10, 13)}


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
    root = str(Path(__file__).parents[2])
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
            *(sys.executable, "-m", *launcher, "-m", "trainers.two_stage", "--config", "cuhk_pedes"),
            *("--data_dir", str(cuhk_folder), "--base_model", str(tiny_clip_folder), "--output_dir", str(out)),
            *("--image_size", "96", "32", "--batch_size", str(batch_size), "--mixed_precision", "no"),
            *("--stage_one_max_steps", "4", "--stage_two_max_steps", "4", "--log_steps", "1", "--num_workers", "0"),
        )
        records = [record for record in read_metrics(out / "metrics.jsonl") if record["split"] == "train"]
        return torch.tensor([record["loss"] for record in records])

    one = losses("one", ["accelerate.commands.launch"], batch_size=8)
    two = losses("two", ["torch.distributed.run", "--nproc_per_node", "2"], batch_size=4)
    assert len(one) == 8
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)
