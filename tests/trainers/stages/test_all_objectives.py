"""Every objective at once, through both stages, as a user would name them on the command line."""

import json

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from trainers import TwoStageTrainer
from trainers.run_folder.metrics_log import read_metrics

ALL = "sdm=1,itc=0.5,tal=0.2,citc=0.1,id=0.5,mlm=0.5"


def test_two_runs_end_with_the_same_bytes_whoever_prepares_the_images(make_args, splits, tmp_path):
    weights = []
    for workers in (0, 1):
        args = make_args(
            output_dir=str(tmp_path / f"run{workers}"),
            stage_one_objectives=ALL,
            stage_two_objectives=ALL,
            sdm_same_person_weight=0.3,
            itc_same_image_weight=1.0,
            mlm_layers=1,
            num_workers=workers,
        )
        TwoStageTrainer(args, splits=splits).train()
        AcceleratorState._reset_state(reset_partial_state=True)
        weights.append(load_file(tmp_path / f"run{workers}" / "model" / "model.safetensors"))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    trained = [record for record in read_metrics(tmp_path / "run0" / "metrics.jsonl") if record["split"] == "train"]
    for record in trained:
        parts = (part.split("=") for part in ALL.split(","))
        assert record["loss"] == pytest.approx(sum(float(weight) * record[name] for name, weight in parts), rel=1e-4)


def test_a_run_that_diverges_stops_and_names_its_images(make_args, splits, tmp_path):
    args = make_args(
        stage_one_objectives={"own_losses:diverging": 1.0}, stage_one_max_steps=60, eval_steps=1000, max_bad_steps=3
    )
    with pytest.raises(ValueError, match="3 steps in a row.*bad_batch.json"):
        TwoStageTrainer(args, splits=splits).train()
    report = json.loads((tmp_path / "run" / "bad_batch.json").read_text())
    names = set(splits["train"]["image_id"])
    assert report["stage"] == "one" and len(report["batches"]) == 3
    assert all(len(batch["image_ids"]) == 4 and names.issuperset(batch["image_ids"]) for batch in report["batches"])
