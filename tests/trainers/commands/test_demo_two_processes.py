"""The demo's recipe on one process and, with the same global batches, on two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainers.distributed.launch import launch_command
from trainers.run_folder.metrics_log import read_metrics

STEPS = 10
# each process compares its own weights before and after each stage, and leaves what it found in a file
WATCHED_RUN = """
import hashlib
import json
import sys
from pathlib import Path
from trainers import TwoStageTrainer
from trainers.configs.recipes import parse_arguments


def hashes(model):
    tensors = model.state_dict().items()
    return {name: hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest() for name, tensor in tensors}


class Watched(TwoStageTrainer):
    def stage_one(self, *arguments):
        self.seen = [hashes(self.model)]
        result = super().stage_one(*arguments)
        self.seen.append(hashes(self.model))
        return result

    def stage_two(self, *arguments):
        result = super().stage_two(*arguments)
        self.seen.append(hashes(self.model))
        return result


folder, *options = sys.argv[1:]
trainer = Watched(parse_arguments(options))
trainer.train()
rank, world = trainer.accelerator.process_index, trainer.accelerator.num_processes
Path(folder, f"rank_{rank}_of_{world}.json").write_text(json.dumps(trainer.seen))
"""


def train(folder: Path, launcher: list[str], *options: str) -> tuple[list[dict], list[list[dict[str, str]]]]:
    """Train by the demo's recipe; what was logged of training, and what each process saw of its weights."""
    script = folder.with_suffix(".py")
    script.write_text(WATCHED_RUN)
    folder.mkdir()
    command = [*launcher, str(script), str(folder), "--config", "synthetic_pedes", "--output_dir", str(folder / "run")]
    steps = ("--stage_one_max_steps", str(STEPS), "--stage_two_max_steps", str(STEPS), "--log_steps", "1")
    root = str(Path(__file__).parents[3])
    environment = {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [*command, *steps, "--num_workers", "0", "--report_to", "none", *options],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    records = [record for record in read_metrics(folder / "run" / "metrics.jsonl") if record["split"] == "train"]
    return records, [json.loads(path.read_text()) for path in sorted(folder.glob("rank_*.json"))]


@pytest.mark.slow
def test_two_processes_train_the_demo_as_one(tmp_path):
    one, (alone,) = train(tmp_path / "one", [sys.executable])
    launcher, _ = launch_command("two_cpu_processes", {"main_process_port": 0})
    two, ranks = train(tmp_path / "two", launcher, "--batch_size", "32")
    in_parts, _ = train(tmp_path / "parts", launcher, "--batch_size", "32", "--micro_batch_size", "20")

    assert [(record["stage"], record["step"]) for record in one] == [
        (stage, step) for stage in ("one", "two") for step in range(1, STEPS + 1)
    ]
    names = sorted(one[0].keys() - {"stage", "step", "split", "time"})
    for other in (two, in_parts):
        values, expected = (torch.tensor([[record[name] for name in names] for record in run]) for run in (other, one))
        torch.testing.assert_close(values, expected, rtol=1e-4, atol=0)

    assert len(ranks) == 2 and ranks[0] == ranks[1]
    for base, after_one, after_two in (alone, *ranks):
        prompts = after_one.keys() - base.keys()
        assert len(prompts) > 0
        assert all(after_one[name] == value for name, value in base.items())
        assert all(after_two[name] == after_one[name] for name in prompts)
        kept = {name for name in base if after_two[name] == base[name]}
        # no part in the losses; a key's bias shifts all logits of a query alike, so its gradient is zero but rounding
        assert {name for name in kept if not name.endswith("k_proj.bias")} == {"logit_scale"}
