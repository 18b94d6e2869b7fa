"""Whole runs under each way to fill batches: their length, their evaluations, and what a killed one goes on with."""

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from transformers import TrainerCallback

from resuming import DieAfter, Killed
from trainers import TwoStageTrainer
from trainers.run_folder.metrics_log import read_metrics

SETTINGS = {
    "batch_size": 8,
    "stages": ["one"],
    "stage_one_max_steps": -1,
    "stage_one_epochs": 2.0,
    "stage_one_objectives": "sdm=1,id=0.5,mlm=0.2",
    "mlm_layers": 1,
    "eval_steps": 0,
    "resume": "auto",
}


@pytest.fixture
def train(make_args, splits, tmp_path):
    def run(name, data=splits, callbacks=(), **settings):
        args = make_args(output_dir=str(tmp_path / name), **(SETTINGS | settings))
        TwoStageTrainer(args, splits=data, callbacks=callbacks).train()
        AcceleratorState._reset_state(reset_partial_state=True)
        weights = load_file(tmp_path / name / "adapter" / "adapter_model.safetensors")
        return weights, read_metrics(tmp_path / name / "metrics.jsonl")

    return run


@pytest.mark.parametrize(
    ("settings", "evaluated"),
    [
        ({"batch_size": 7}, [0, 4, 7]),  # 24 pairs an epoch: 24 / 7 steps, then 48 / 7
        ({"batch_size": 7, "gradient_accumulation_steps": 2}, [0, 2, 4]),
        ({"sampling": "identity", "num_instances": 2, "micro_batch_size": 3}, [0, 3, 6]),
        ({"sampling": "identity", "num_instances": 3, "batch_size": 15}, [0, 3, 6]),  # 12 groups, 5 a batch
        ({"sampling": "length", "batch_size": 10}, [0, 3, 5]),
    ],
)
def test_a_run_sees_its_epochs_and_goes_on_in_their_midst(train, settings, evaluated):
    weights, records = train("whole", **settings)
    assert [record["step"] for record in records if record["split"] == "validation"] == evaluated
    assert [record["step"] for record in records if record["split"] == "train"] == list(range(1, evaluated[-1] + 1))

    class SaveAtTwo(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            control.should_save = state.global_step == 2

    with pytest.raises(Killed):
        train("stopped", callbacks=[SaveAtTwo(), DieAfter(2)], **settings)
    AcceleratorState._reset_state(reset_partial_state=True)
    found, records_found = train("stopped", **settings)
    assert all(torch.equal(found[name], value) for name, value in weights.items())
    assert records_found == records


def test_micro_batches_change_nothing_but_memory(train):
    whole, _ = train("whole", stage_one_epochs=1.0)
    parts, _ = train("parts", stage_one_epochs=1.0, micro_batch_size=3)
    assert any(not torch.equal(parts[name], value) for name, value in whole.items())  # rounding: it was another way
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-5)


def test_a_stream_is_only_shuffled(train, splits):
    stream = {**splits, "train": splits["train"].to_iterable_dataset()}
    _, records = train("stream", stream, batch_size=7)
    assert [record["step"] for record in records if record["split"] == "validation"] == [0, 4, 7]
    with pytest.raises(ValueError, match="sampling is 'length' and the training split a stream"):
        train("sampled", stream, sampling="length")
