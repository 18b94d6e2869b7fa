"""Helpers for runs that are killed and resumed."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback, TrainerControl, TrainerState

from trainers.run_folder.metrics_log import read_metrics

TINY = {
    "image_size": [96, 32],
    "batch_size": 4,
    "stage_two_learning_rate": 1e-3,
    "num_workers": 0,
    "report_to": "none",
}
SETTINGS = {
    "stage_one_max_steps": 7,
    "stage_two_max_steps": 7,
    "eval_steps": 3,
    "save_steps": 2,
    "log_steps": 2,
    "stage_one_objectives": "sdm=1,id=0.5",
    "stage_two_objectives": "sdm=1,id=0.5",
    "resume": "auto",
}


class Killed(BaseException):
    """Stands for the death of the process."""


def ending(folder: Path) -> dict[str, object]:
    """The results that an interruption must not change."""
    weights = {
        **load_file(folder / "adapter" / "adapter_model.safetensors"),
        **load_file(folder / "model" / "model.safetensors"),
    }
    results = json.loads((folder / "results.json").read_text())
    return {"weights": weights, "results": results, "metrics": read_metrics(folder / "metrics.jsonl")}


def assert_same(one: dict[str, object], other: dict[str, object]) -> None:
    assert one["weights"].keys() == other["weights"].keys()
    assert all(torch.equal(value, other["weights"][name]) for name, value in one["weights"].items())
    assert one["results"] == other["results"]
    assert one["metrics"] == other["metrics"]


class DieAfter(TrainerCallback):
    """The process dies after a step, of any stage if none is named, and after its checkpoint."""

    def __init__(self, step: int, stage: str | None = None) -> None:
        self.step, self.stage = step, stage

    def on_step_begin(self, args: SimpleNamespace, state: TrainerState, control: TrainerControl, **_: object) -> None:
        if state.global_step == self.step and self.stage in (None, args.current_stage):
            raise Killed


class NoStep(TrainerCallback):
    """Fail if a step is taken."""

    def on_step_begin(self, *_: object, **also: object) -> None:
        pytest.fail("a step was taken")
