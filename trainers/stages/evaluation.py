"""Evaluate on the splits of a run and record the figures."""

import logging
from collections.abc import Mapping
from typing import Any

from accelerate import Accelerator
from torch import nn

from modeling_prompt_clip import PromptCLIPProcessor
from modeling_prompt_clip.retrieval import Interval, RetrievalMetrics, TextToImageEvaluator, bootstrap_intervals
from modeling_prompt_clip.retrieval.pictures import ranked_strips
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.data.split_facts import evaluation_facts
from trainers.data.splits import Rows, read_by_our_rule, split_evaluator
from trainers.run_folder.folder import RunFolder
from trainers.run_folder.metrics_log import MetricsLog
from trainers.run_folder.results import result_rows

logger = logging.getLogger(__name__)


class RunEvaluation:
    """Evaluates on the splits of a run; the first process writes `results.json`."""

    def __init__(
        self,
        args: TwoStageTrainingArguments,
        accelerator: Accelerator,
        processor: PromptCLIPProcessor,
        splits: Mapping[str, Rows],
        run: RunFolder,
    ) -> None:
        self.args = args
        self.accelerator = accelerator
        self.processor = processor
        self.splits = splits
        self.run = run
        self.validation = self.evaluator("validation")

    def evaluator(self, split: str, rows: Rows | None = None) -> TextToImageEvaluator | None:
        """The evaluator of a split, or of other rows in its place; `None` if the data set lacks it."""
        splits = self.splits if rows is None else {split: read_by_our_rule(rows)}
        return split_evaluator(self.args, self.accelerator, self.processor, splits, split)

    def start(self, model: nn.Module, log: MetricsLog | None) -> None:
        """Evaluate the model that the run starts from on validation, the first point of the curves in `log`."""
        if self.validation is None:
            logger.warning("no validation split: each stage keeps its last weights, and nothing is selected")
            return
        metrics = {direction: each.to_dict() for direction, each in self.validation.by_direction(model).items()}
        self.record("base", "validation", 0, metrics)
        if log is not None:
            first = {"stage": self.args.stages[0], "step": 0, "split": "validation"}
            log.write(first | metrics["text_to_image"])

    def test(self, model: nn.Module, stage: str, step: int) -> dict[str, RetrievalMetrics]:
        """Evaluate the final model, which has the weights of `step` of the last stage, on the test split.

        Returns the metrics by direction; empty without a test split or with `no_test`.
        """
        if self.args.no_test:
            logger.info("no_test is set: the test split is not looked at; prompt-clip evaluate RUN --split test tests")
            return {}
        evaluator = self.evaluator("test")
        if evaluator is None:
            logger.warning("no test split: nothing is tested")
            return {}
        encoded = evaluator.encode(model)
        values = evaluator.query_values(encoded)
        metrics = {direction: each.mean() for direction, each in values.items()}
        intervals = {direction: bootstrap_intervals(each) for direction, each in values.items()}
        self.record(stage, "test", step, {name: each.to_dict() for name, each in metrics.items()}, intervals)
        if self.accelerator.is_main_process:
            ranked_strips(encoded, self.splits["test"], seed=self.args.seed).save(self.run.plots / "ranked_test.png")
        return metrics

    def record(
        self,
        stage: str,
        split: str,
        step: int,
        metrics: Mapping[str, Mapping[str, float]],
        intervals: Mapping[str, Mapping[str, Interval]] | None = None,
    ) -> None:
        """Write figures, by direction and name, to `results.json`; the first process does."""
        if self.accelerator.is_main_process:
            self.run.record(result_rows(self.args, stage, split, step, metrics, intervals, self._facts(split)))

    def _facts(self, split: str) -> dict[str, Any]:
        """What belongs beside each figure on a split."""
        return evaluation_facts(self.splits[split], split, self.processor.image_size, self.args.dataset_options)


__all__ = ["RunEvaluation"]
