"""Stage two by low-rank updates: what is trained, saved, published, and gone on with."""

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import datasets
import pytest
import torch
import torch.multiprocessing as multiprocessing
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from transformers import AutoModel, TrainerCallback

from dataset_scripts.common.files import new_folder
from modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.loading import load_model
from modeling_prompt_clip.retrieval import TextToImageEvaluator
from prompting import adapted, trainable
from resuming import DieAfter, Killed
from trainers import TwoStageTrainer, TwoStageTrainingArguments
from trainers.stages.starting_model import lora_model

MATRICES = {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"}
SETTINGS = {"stage_two_lora_rank": 2, "stage_two_learning_rate": 1e-2, "save_steps": 1}


@pytest.fixture
def train(make_args, splits):
    """Runs to the end, or raises; returns the trainer."""

    def run(folder: Path, callbacks: Sequence[TrainerCallback] = (), **settings: object) -> TwoStageTrainer:
        args = make_args(output_dir=str(folder), resume="auto", **(SETTINGS | settings))
        try:
            trainer = TwoStageTrainer(args, splits=splits, callbacks=callbacks)
            trainer.train()
        finally:
            AcceleratorState._reset_state(reset_partial_state=True)
        return trainer

    return run


def test_the_matrices_of_both_towers_get_updates_and_the_model_starts_as_it_is(tiny_folder, input_ids, pixel_values):
    model = adapted(PromptCLIPModel.from_clip(tiny_folder, image_size=(96, 32))).merge_and_unload().eval()
    wanted = model(input_ids=input_ids, pixel_values=pixel_values).logits_per_text
    lora = lora_model(model, rank=2, alpha=4.0)
    assert torch.equal(lora(input_ids=input_ids, pixel_values=pixel_values).logits_per_text, wanted)
    names = trainable(lora)
    assert len(names) == 2 * 3 * 6 * 2  # towers, layers, matrices, A and B
    assert {name.split(".")[-4] for name in names} == MATRICES
    assert lora.base_model.model.text_model.encoder.layers[0].mlp.fc1.scaling == {"default": 2.0}


def test_the_published_model_is_whole_and_the_base_with_low_rank_updates(train, splits, tmp_path, tiny_clip_folder):
    trainer = train(tmp_path / "run")
    published = load_file(trainer.run.model / "model.safetensors")
    base = PromptCLIPModel.from_clip(tiny_clip_folder, image_size=(96, 32)).state_dict()
    prompts = load_file(trainer.run.adapter / "adapter_model.safetensors")
    assert set(published) - set(base) == {
        name.removeprefix("base_model.model.").replace("clip_prompt_embeddings", "weight") for name in prompts
    }
    for name, weight in base.items():
        difference = published[name] - weight
        updated = ".layers." in name and name.endswith(".weight") and name.split(".")[-2] in MATRICES
        assert difference.any() == updated, name
        if updated:
            assert torch.linalg.matrix_rank(difference.double(), rtol=1e-4) <= 2, name
    model, processor = load_model(str(trainer.run.path))
    assert type(model) is type(AutoModel.from_pretrained(trainer.run.model)) is PromptCLIPModel
    assert "peft" not in (trainer.run.model / "config.json").read_text()
    assert (model.config.text_config.prompt_length, model.config.vision_config.prompt_length) == (4, 4)
    again = TextToImageEvaluator(splits["test"], processor).by_direction(model)["text_to_image"].to_dict()
    results = json.loads(trainer.run.results.read_text())
    assert [entry["metrics"] for entry in results if entry["split"] == "test"][0] == again
    assert "low-rank updates (LoRA, rank 2) that are merged now" in (trainer.run.path / "README.md").read_text()


def test_checkpoints_hold_the_updates_alone(train, tmp_path):
    with pytest.raises(Killed):
        train(tmp_path / "run", [DieAfter(2, "two")], direct=True)
    folder = tmp_path / "run" / "checkpoints"
    for weights in (folder / "stage_two-step_2" / "weights", folder / "stage_two-step_2-best"):
        assert all("lora_" in name for name in load_file(weights / "adapter_model.safetensors"))
        assert not (weights / "model.safetensors").exists()


def test_a_killed_run_ends_as_an_undisturbed_one(train, tmp_path, monkeypatch):
    def die(*args: object) -> None:
        raise Killed

    @contextmanager
    def die_with_half_a_model(folder: Path) -> Iterator[Path]:
        with new_folder(folder) as written:
            yield written
            die()

    @contextmanager
    def die_before_the_model_is_in_its_place(folder: Path) -> Iterator[Path]:
        with new_folder(folder) as written:
            yield written
        die()

    others = {"direct": True, "layer_lr_decay": 0.5, "ema_decay": 0.5}
    with pytest.raises(Killed):
        train(tmp_path / "run", [DieAfter(1, "two")], **others)
    for target, deadly in (
        ("trainers.stages.best_weights.RunWeights.place_model", die),
        ("trainers.stages.best_weights.new_folder", die_with_half_a_model),
        ("trainers.stages.best_weights.new_folder", die_before_the_model_is_in_its_place),
    ):
        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(target, deadly)
            train(tmp_path / "run", **others)
    found = load_file(train(tmp_path / "run", **others).run.model / "model.safetensors")
    expected = load_file(train(tmp_path / "whole", **others).run.model / "model.safetensors")
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def one_of_two(rank: int, port: int, args: TwoStageTrainingArguments, data: str) -> None:
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    trainer = TwoStageTrainer(args, splits=dict(datasets.load_from_disk(data)))
    trainer.train()
    torch.save(trainer.model.state_dict(), trainer.run.path / f"rank_{rank}.pt")
    trainer.accelerator.end_training()


@pytest.mark.slow
def test_both_of_two_processes_end_with_the_published_model(make_args, splits, tmp_path):
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    args = make_args(**SETTINGS)
    multiprocessing.spawn(one_of_two, args=(port, args, str(tmp_path / "data")), nprocs=2)
    published = load_file(Path(args.output_dir) / "model" / "model.safetensors")
    for rank in range(2):
        found = torch.load(Path(args.output_dir) / f"rank_{rank}.pt", weights_only=True)
        assert found.keys() == published.keys()
        assert all(torch.equal(value, found[name]) for name, value in published.items())
