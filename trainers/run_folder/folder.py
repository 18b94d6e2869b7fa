"""The folder of a run: settings, logs, results, weights, plots and card."""

import logging
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from dataset_scripts.common.files import check_output, write_atomically, write_json
from dataset_scripts.common.text.printable import shown
from trainers.arguments.fields import Rule, rules
from trainers.arguments.resolved import map_sources
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.run_folder.curves import plot_curves, plot_methods
from trainers.run_folder.files import START_AGAIN, read_config, read_progress, read_results
from trainers.run_folder.metrics_log import MetricsLog, read_metrics
from trainers.run_folder.results import StageResult, stage_result
from trainers.run_folder.settings import complete_settings, unrecorded_settings

CONTENTS = (
    "config.yaml", "metrics.jsonl", "results.json", "skipped_images.json", "bad_batch.json", "leaks.json", "README.md",
    "progress.json", "adapter", "model", "checkpoints", "plots",
)  # fmt: skip

logger = logging.getLogger(__name__)


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
        """Check that a new run may be written here.

        Raises:
            OSError: the folder holds a run and `overwrite` is not set, or it cannot be written, or the path is a file.
        """
        check_output(self.path, "output_dir")
        taken = [name for name in CONTENTS if (self.path / name).exists()]
        if taken and not overwrite:
            raise OSError(
                f"output_dir {self.path} already holds a run ({', '.join(taken)}); name another folder, set resume to "
                "auto to resume it, or overwrite_output_dir to replace it"
            )

    def take(self, args: TwoStageTrainingArguments) -> bool:
        """Return whether there is a run to resume; if not, check that one may be written.

        Raises OSError, ValueError: see `can_go_on` and `check_free`.
        """
        goes_on = self.can_go_on(args)
        if not goes_on:
            self.check_free(args.overwrite_output_dir)
        return goes_on

    def can_go_on(self, args: TwoStageTrainingArguments) -> bool:
        """Return whether these settings resume a run that is here.

        Raises:
            ValueError: there is a run with other settings; the message names them.
            OSError: its settings are missing or cannot be read.
        """
        if args.resume == "no":
            return False
        if not self.config.exists():
            if self.progress.exists() and not args.overwrite_output_dir:
                raise FileNotFoundError(f"{self.config} of the run to resume is missing: {START_AGAIN}")
            return False
        earlier = complete_settings(read_config(self.config))
        now = yaml.safe_load(_as_yaml(args))
        different = [
            f"{name} {shown(earlier[name])} there and {shown(now[name])} here"
            for name, rule in rules(args).items()
            if not rule.resumable and not _is_same(rule, earlier[name], now[name])
        ]
        if different:
            raise ValueError(
                f"the run in {self.path} cannot resume under other settings: {'; '.join(different)}. Take those of "
                f"{self.config}, or name another output_dir"
            )
        return True

    def drawn_as_before(self, args: TwoStageTrainingArguments) -> TwoStageTrainingArguments:
        """Return the settings with the earlier version's defaults that the run to resume began with."""
        if args.resume == "no" or not self.config.is_file():
            return args
        earlier = unrecorded_settings(read_config(self.config))
        for name, value in earlier.items():
            logger.info("%s has no %s: the run resumes with %r, as it began", self.config, name, value)
        return replace(args, **earlier)

    def create(self, args: TwoStageTrainingArguments) -> MetricsLog:
        """Create the folder, clear an earlier run, and write the settings; call `check_free` first.

        Raises OSError: the folder cannot be written.
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

    def reopen(self) -> MetricsLog:
        """Recreate removed folders, check the files, and open the metrics to resume.

        Raises OSError, ValueError: `results.json` or `metrics.jsonl` is damaged.
        """
        for folder in (self.checkpoints, self.plots):
            folder.mkdir(parents=True, exist_ok=True)
        for path in (self.results, self.metrics):
            if not path.exists():
                logger.warning("%s is missing: the figures of the run so far are lost", path)
        write_json(self.results, self.recorded())
        log = MetricsLog(self.metrics)
        read_metrics(self.metrics)
        return log

    def record(self, entries: list[dict[str, Any]]) -> None:
        """Add evaluations to `results.json`, replacing those of the same model, split and direction.

        Rows added by `prompt-clip evaluate --output` stay.

        Raises OSError, ValueError: the file is damaged, see [`read_results`], or cannot be written.
        """
        new = {_key(entry): entry for entry in entries}
        kept = [new.pop(_key(row), row) if "stage" in row else row for row in self.recorded()]
        write_json(self.results, [*kept, *new.values()])

    def recorded(self) -> list[dict[str, Any]]:
        """Read the evaluations in `results.json`; see [`read_results`] for errors."""
        return read_results(self.results)

    def weights_of(self, stage: str) -> Path:
        """Path of the weights of a finished stage."""
        return {"one": self.adapter, "two": self.model}[stage]

    def finish_stage(self, name: str, result: StageResult, **facts: Any) -> None:
        """Record that a stage is done, for resuming.

        Args:
            name: of the stage.
            result: how it ended.
            facts: JSON values to compare on resuming: hashes of weights, a fingerprint of the data.
        """
        write_json(self.progress, {**self.finished(), name: asdict(result) | facts})

    def note(self, name: str, **facts: Any) -> None:
        """Add facts to a finished stage."""
        done = self.finished()
        write_json(self.progress, done | {name: done[name] | facts})

    def finished(self) -> dict[str, dict[str, Any]]:
        """Return what `finish_stage` recorded, by stage; see [`read_progress`] for errors."""
        return read_progress(self.progress)

    def finished_stages(self) -> dict[str, StageResult]:
        """Return the result of each finished stage; see [`read_progress`] for errors."""
        return {name: stage_result(entry) for name, entry in self.finished().items()}

    def forget_stage(self, name: str) -> None:
        """Mark a finished stage to run again from its checkpoints."""
        write_json(self.progress, {stage: entry for stage, entry in self.finished().items() if stage != name})

    def draw_curves(self) -> list[Path]:
        """Plot losses, learning rates, validation scores and a comparison of methods into `plots`."""
        methods = plot_methods(self.recorded(), self.plots)
        return [*plot_curves(read_metrics(self.metrics), self.plots), *([methods] if methods else [])]


def _is_same(rule: Rule, earlier: Any, now: Any) -> bool:
    """Whether two values of a setting mean the same; folders of data are compared later, by fingerprint."""
    if not rule.local:
        return earlier == now
    change = _without_folder if rule.local == "data" else _real_folder
    return map_sources(earlier, change) == map_sources(now, change)


def _without_folder(name: str, folder: str) -> str:
    return f"{name}=" if folder else name


def _real_folder(name: str, folder: str) -> str:
    return os.path.realpath(Path(folder).expanduser()) if folder else name


def _as_yaml(args: TwoStageTrainingArguments) -> str:
    return yaml.safe_dump(asdict(args), sort_keys=False, allow_unicode=True)


def _key(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(entry[name] for name in ("stage", "method", "split", "direction"))


__all__ = ["RunFolder"]
