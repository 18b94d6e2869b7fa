"""The folder that a run leaves: settings, logs, results, weights, pictures and a card."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from dataset_scripts.common.files import write_atomically, write_json
from modeling_prompt_clip.retrieval import Interval
from trainers.arguments import TwoStageTrainingArguments
from trainers.curves import plot_curves
from trainers.stage import StageResult
from trainers.tracking import MetricsLog, read_metrics

CONTENTS = (
    "config.yaml", "metrics.jsonl", "results.json", "skipped_images.json", "bad_batch.json", "leaks.json", "README.md",
    "progress.json", "adapter", "model", "checkpoints", "plots",
)  # fmt: skip

# settings that a run may go on under, whatever they were: they change neither data nor weights
MAY_DIFFER = frozenset(
    {"output_dir", "overwrite_output_dir", "resume", "save_steps", "save_total_limit", "num_workers", "report_to"}
    | {"data_dir", "eval_batch_size", "log_steps"}
    | {"push_to_hub", "hub_model_id", "hub_strategy", "hub_private_repo"}
)


class RunFolder:
    """Paths and files of `runs/NAME`.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.adapter = self.path / "adapter"
        self.model = self.path / "model"
        self.checkpoints = self.path / "checkpoints"
        self.plots = self.path / "plots"
        self.results = self.path / "results.json"
        self.metrics = self.path / "metrics.jsonl"
        self.config = self.path / "config.yaml"
        self.progress = self.path / "progress.json"

    def check_free(self, overwrite: bool) -> None:
        """See that a run may be written here.

        Raises:
            OSError: the folder holds a run and `overwrite` is not set, or it cannot be written, or the path is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise OSError(f"output_dir {self.path} is a file; name a folder")
        there = next(path for path in (self.path.absolute(), *self.path.absolute().parents) if path.exists())
        if not os.access(there, os.W_OK):
            raise OSError(f"output_dir {self.path} cannot be written: {there} is read-only here; name another folder")
        taken = [name for name in CONTENTS if (self.path / name).exists()]
        if taken and not overwrite:
            raise OSError(
                f"output_dir {self.path} already holds a run ({', '.join(taken)}); name another folder, set resume to "
                "auto to go on with it, or overwrite_output_dir to replace it"
            )

    def can_go_on(self, args: TwoStageTrainingArguments) -> bool:
        """Whether there is a run here that these settings go on with.

        Raises:
            ValueError: there is one, of other settings; the message names them.
            OSError: its settings cannot be read.
        """
        if args.resume == "no" or not self.config.is_file():
            return False
        try:
            earlier = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ValueError(f"{self.config} is not valid YAML: {error}") from error
        different = [
            f"{name} {earlier.get(name)!r} there and {value!r} here"
            for name, value in yaml.safe_load(_as_yaml(args)).items()
            if name not in MAY_DIFFER and earlier.get(name) != value
        ]
        if different:
            raise ValueError(
                f"the run in {self.path} cannot go on under other settings: {'; '.join(different)}. Take those of "
                f"{self.config}, or name another output_dir"
            )
        return True

    def create(self, args: TwoStageTrainingArguments) -> MetricsLog:
        """Make the folder, clear what an earlier run left, and write the settings; `check_free` comes before.

        Raises:
            OSError: the folder cannot be written.
        """
        # the settings go last and come first: a folder without them holds nothing to go on with
        for name in sorted((*CONTENTS, "two_stage"), key="config.yaml".__eq__):
            path = self.path / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for folder in (self.path, self.checkpoints, self.plots):
            folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.config, _as_yaml(args).encode())
        write_json(self.results, [])
        return MetricsLog(self.metrics)

    def record(self, entries: list[dict[str, Any]]) -> None:
        """Add evaluations to `results.json`, in place of those of the same method, split and direction."""
        entries = {_key(entry): entry for entry in (*self.recorded(), *entries)}
        write_json(self.results, list(entries.values()))

    def recorded(self) -> list[dict[str, Any]]:
        """The evaluations in `results.json`."""
        return json.loads(self.results.read_text(encoding="utf-8")) if self.results.is_file() else []

    def finish_stage(self, name: str, result: StageResult) -> None:
        """Take note, for a run that goes on, that a stage is done."""
        write_json(self.progress, {**self._finished(), name: asdict(result)})

    def finished_stages(self) -> dict[str, StageResult]:
        """The stages that are done, and how they ended."""
        return {name: StageResult(**result) for name, result in self._finished().items()}

    def _finished(self) -> dict[str, dict[str, Any]]:
        return json.loads(self.progress.read_text(encoding="utf-8")) if self.progress.is_file() else {}

    def draw_curves(self) -> list[Path]:
        """Plot losses, learning rates and validation scores into `plots`."""
        return plot_curves(read_metrics(self.metrics), self.plots)


def result_rows(
    args: TwoStageTrainingArguments,
    stage: str,
    split: str,
    step: int,
    metrics: Mapping[str, Mapping[str, float]],
    intervals: Mapping[str, Mapping[str, Interval]] | None = None,
) -> list[dict[str, Any]]:
    """An evaluation as rows of `results.json`.

    Args:
        args: of the run.
        stage: `"base"`, `"one"` or `"two"`: after which the model was evaluated.
        split: what it was evaluated on.
        step: optimizer steps that it had taken in that stage.
        metrics: by direction, in percent by name.
        intervals: of these metrics, where they were computed.
    """
    methods = {
        "base": "stage one" if args.adapter else "zero-shot",  # an adapter is merged before the run starts
        "one": "stage one",
        "two": "direct" if args.direct else "two-stage",
    }
    shared = {"stage": stage, "method": methods[stage], "split": split}
    rows = []
    for direction, values in metrics.items():
        rows.append({**shared, "direction": direction, "step": step, "metrics": dict(values)})
        if intervals is not None:
            rows[-1]["intervals"] = {name: interval.to_list() for name, interval in intervals[direction].items()}
    return rows


def _as_yaml(args: TwoStageTrainingArguments) -> str:
    return yaml.safe_dump(asdict(args), sort_keys=False, allow_unicode=True)


def _key(entry: dict[str, Any]) -> tuple[str, ...]:
    """What an evaluation is of."""
    return tuple(entry[name] for name in ("stage", "method", "split", "direction"))


__all__ = ["RunFolder", "result_rows"]
