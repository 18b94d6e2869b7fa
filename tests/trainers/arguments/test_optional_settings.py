"""Settings that are off by default, all at once: a run with them goes on after a kill as any other."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from transformers import TrainerCallback

from modeling_prompt_clip import PromptCLIPModel
from resuming import DieAfter, Killed
from trainers import TwoStageTrainer
from trainers.run_folder.metrics_log import read_metrics

SETTINGS = {
    "coupled_prompts": True,
    "ema_decay": 0.7,
    "layer_lr_decay": 0.5,
    "learn_temperature": True,
    "stage_one_objectives": "sdm=1,id=0.5",
    "stage_two_objectives": "sdm=1,itc=0.5",
    "stage_one_max_steps": 4,
    "stage_two_max_steps": 4,
    "stage_one_learning_rate": 1e-2,
    "save_steps": 1,
    "resume": "auto",
}


@pytest.fixture(scope="module")
def both_runs(tiny_clip_folder, splits, tmp_path_factory):
    """Folders of a run that was left in peace, and of one that was killed in both stages."""
    from trainers.arguments.settings import TwoStageTrainingArguments

    tiny = {"base_model": str(tiny_clip_folder), "image_size": [96, 32], "batch_size": 4, "num_workers": 0}
    tiny |= {"stage_two_learning_rate": 1e-3, "eval_steps": 3, "log_steps": 1, "report_to": "none"}

    def run(folder: Path, callbacks: Sequence[TrainerCallback] = ()) -> None:
        args = TwoStageTrainingArguments(output_dir=str(folder), **tiny, **SETTINGS)
        try:
            TwoStageTrainer(args, splits=splits, callbacks=callbacks).train()
        finally:
            AcceleratorState._reset_state(reset_partial_state=True)

    runs = tmp_path_factory.mktemp("runs")
    whole, killed = runs / "whole", runs / "killed"
    run(whole)
    for stage in ("one", "two"):
        with pytest.raises(Killed):
            run(killed, [DieAfter(2, stage)])
        shutil.copy(killed / "checkpoints" / f"stage_{stage}-step_2" / "state.pt", runs / f"state_{stage}.pt")
    run(killed)
    return whole, killed


@pytest.mark.parametrize("file", ["adapter/adapter_model.safetensors", "model/model.safetensors"])
def test_a_killed_run_ends_with_the_same_weights(both_runs, file):
    whole, killed = (load_file(folder / file) for folder in both_runs)
    assert whole.keys() == killed.keys()
    assert all(torch.equal(value, killed[name]) for name, value in whole.items())


def test_a_killed_run_leaves_the_same_log(both_runs):
    whole, killed = (read_metrics(folder / "metrics.jsonl") for folder in both_runs)
    assert whole == killed


def test_learned_temperatures_are_seen_to_move_in_both_stages(both_runs):
    rows = [row for row in read_metrics(both_runs[0] / "metrics.jsonl") if row["split"] == "train"]
    for stage, name, first in (
        ("one", "sdm_temperature", 0.02),
        ("two", "sdm_temperature", 0.02),
        ("two", "itc_temperature", 0.07),
    ):
        temperatures = [row[name] for row in rows if row["stage"] == stage]
        assert temperatures[0] == pytest.approx(first)  # as it was in the first step
        assert len(set(temperatures)) == len(temperatures) == 4


@pytest.mark.parametrize(("stage", "rates"), [("one", {1, 5}), ("two", {1, 0.5, 0.25, 0.125})])
def test_the_rates_of_layers_differ_in_stage_two_alone(both_runs, stage, rates):
    state = torch.load(both_runs[1].parent / f"state_{stage}.pt", weights_only=True)
    groups = state["loop"]["optimizer"]["param_groups"]
    assert {round(group["initial_lr"] / groups[0]["initial_lr"], 6) for group in groups} == rates


def test_coupled_prompts_are_published_as_fixed_ones(both_runs):
    model = PromptCLIPModel.from_pretrained(both_runs[0] / "model")
    assert model.config.text_config.prompt_length == model.config.vision_config.prompt_length == 4
    assert any("projections" in name for name in load_file(both_runs[0] / "adapter" / "adapter_model.safetensors"))


def test_what_cannot_be_combined_is_refused_before_training(make_args, splits):
    with pytest.raises(ValueError, match="text_prompt_length is 4 and vision_prompt_length 2.*the same length"):
        TwoStageTrainer(make_args(coupled_prompts=True, vision_prompt_length=2), splits=splits)
    with pytest.raises(ValueError, match="learn_temperature is set, but id has no temperature"):
        make_args(learn_temperature=True, stage_two_objectives="id")
    with pytest.raises(ValueError, match="sdm_temperature, which is to be learned, is 0.001"):
        make_args(learn_temperature=True, sdm_temperature=1e-3)
