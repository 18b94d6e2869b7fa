"""The folder that a run leaves: settings, logs, results, weights, pictures and a card."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from trainers.arguments import TwoStageTrainingArguments
from trainers.curves import plot_curves
from trainers.files import write_json
from trainers.tracking import MetricsLog, read_metrics

CONTENTS = ("config.yaml", "metrics.jsonl", "results.json", "README.md", "adapter", "model", "checkpoints", "plots")


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

    def check_free(self, overwrite: bool) -> None:
        """See that a run may be written here.

        Raises:
            OSError: the folder holds a run and `overwrite` is not set, or the path is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise OSError(f"output_dir {self.path} is a file; name a folder")
        taken = [name for name in CONTENTS if (self.path / name).exists()]
        if taken and not overwrite:
            raise OSError(
                f"output_dir {self.path} already holds a run ({', '.join(taken)}); name another folder, or set "
                "overwrite_output_dir to replace it"
            )

    def create(self, args: TwoStageTrainingArguments) -> MetricsLog:
        """Make the folder, clear what an earlier run left if that is allowed, and write the settings.

        Raises:
            OSError: as [`check_free`], or the folder cannot be written.
        """
        self.check_free(args.overwrite_output_dir)
        for name in (*CONTENTS, "two_stage"):
            path = self.path / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for folder in (self.path, self.checkpoints, self.plots):
            folder.mkdir(parents=True, exist_ok=True)
        settings = yaml.safe_dump(asdict(args), sort_keys=False, allow_unicode=True)
        (self.path / "config.yaml").write_text(settings, encoding="utf-8")
        write_json(self.results, [])
        return MetricsLog(self.metrics)

    def record(self, entries: list[dict[str, Any]]) -> None:
        """Add evaluations to `results.json`."""
        write_json(self.results, [*json.loads(self.results.read_text(encoding="utf-8")), *entries])

    def draw_curves(self) -> list[Path]:
        """Plot losses, learning rates and validation scores into `plots`."""
        return plot_curves(read_metrics(self.metrics), self.plots)


__all__ = ["RunFolder"]
