"""One stage of training: a plain loop over steps, with evaluation and checkpoints on the way."""

import contextlib
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device, tqdm
from torch import nn
from torch.utils.data import DataLoader

from trainers.arguments import StageSettings, TwoStageTrainingArguments
from trainers.distributed import gather_ids, gather_with_gradient
from trainers.objectives import CombinedObjective
from trainers.optimization import build_optimizer, build_schedule, parameter_groups
from trainers.tracking import MetricsLog

logger = logging.getLogger(__name__)


class StageModule(nn.Module):
    """A model and its objective as one module, so that DDP sees every trainable parameter in one forward.

    Args:
        model: a PromptCLIPModel, or a PeftModel around one.
        objective: the stage's losses.
    """

    def __init__(self, model: nn.Module, objective: CombinedObjective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of the global batch, and each objective's own value.

        Args:
            batch: `pixel_values` (batch, 3, height, width), `input_ids` (batch, tokens), and (batch,) `person_ids`,
                `labels`, `image_ids` of this process.
        """
        output = self.model(input_ids=batch["input_ids"], pixel_values=batch["pixel_values"])
        return self.objective(
            gather_with_gradient(output.image_embeds),
            gather_with_gradient(output.text_embeds),
            gather_ids(batch["person_ids"]),
            labels=gather_ids(batch["labels"]),
            image_ids=gather_ids(batch["image_ids"]),
        )


@dataclass
class StageResult:
    """How a stage ended.

    Args:
        steps: optimizer steps that were run.
        best_step: the step whose weights were kept.
        best_metrics: their validation metrics, in percent; empty where there is no validation split.
        seconds: wall-clock time of the stage, evaluations included.
    """

    steps: int = 0
    best_step: int = 0
    best_metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


class StageLoop:
    """Runs the steps of one stage.

    Args:
        accelerator: of the run.
        args: settings of the run.
        stage: settings of this stage.
        module: model and objective; only what requires a gradient is trained.
        loader: batches of this process, `gradient_accumulation_steps` for each of `total_steps` steps.
        total_steps: optimizer steps.
        eval_steps: evaluate every so many steps, and at the end.
        evaluate: validation metrics by name, with `R@1`; `None` without a validation split.
        keep: called with the step when its weights are the best so far, or the last where nothing is evaluated.
        log: `metrics.jsonl`; `None` on all processes but the first.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        args: TwoStageTrainingArguments,
        stage: StageSettings,
        module: StageModule,
        loader: DataLoader,
        *,
        total_steps: int,
        eval_steps: int,
        evaluate: Callable[[], dict[str, float]] | None,
        keep: Callable[[int], None],
        log: MetricsLog | None,
    ) -> None:
        self.accelerator = accelerator
        self.args = args
        self.stage = stage
        self.total_steps = total_steps
        self.eval_steps = eval_steps
        self.evaluate = evaluate
        self.keep = keep
        self.log = log
        groups = parameter_groups(
            module.named_parameters(),
            learning_rate=stage.learning_rate,
            weight_decay=stage.weight_decay,
            bias_lr_multiplier=args.bias_lr_multiplier,
            head_lr_multiplier=args.head_lr_multiplier,
        )
        optimizer = build_optimizer(
            groups, name=args.optimizer, betas=(args.adam_beta1, args.adam_beta2), eps=args.adam_epsilon
        )
        self.schedule = build_schedule(
            optimizer,
            warmup_steps=math.ceil(stage.warmup_ratio * total_steps),
            total_steps=total_steps,
            start_factor=args.warmup_start,
        )
        self.module, self.optimizer = accelerator.prepare(module, optimizer)
        self.trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.batches: Iterator[dict[str, torch.Tensor]] = iter(loader)
        self.result = StageResult()

    def run(self) -> StageResult:
        """Train to the end of the stage."""
        self.module.train()
        started = time.monotonic()
        sums: dict[str, torch.Tensor] = {}
        title = f"stage {self.stage.name}"
        pause = 0.2 if sys.stderr.isatty() else 10.0  # seconds between drawings: a log file wants few
        with tqdm(total=self.total_steps, desc=title, unit="step", mininterval=pause) as progress:
            for step in range(1, self.total_steps + 1):
                for name, value in self._step().items():
                    sums[name] = sums[name] + value if name in sums else value
                self.result.steps = step
                progress.update()
                last = step == self.total_steps
                if step % self.args.log_steps == 0 or last:
                    progress.set_postfix(self._log_training(step, sums), refresh=False)
                    sums = {}
                if last or step % self.eval_steps == 0:
                    self._evaluate(step)
        self.result.seconds = time.monotonic() - started
        return self.result

    def _step(self) -> dict[str, torch.Tensor]:
        """One optimizer step. The losses stay on the device: reading them would wait for it."""
        batches = self.args.gradient_accumulation_steps
        sums: dict[str, torch.Tensor] = {"steps": torch.ones(())}
        for number in range(batches):
            batch = send_to_device(next(self.batches), self.accelerator.device, non_blocking=True)
            # gradients travel between processes once a step, with the last batch
            wait = self.accelerator.no_sync(self.module) if number < batches - 1 else contextlib.nullcontext()
            with wait:
                loss, terms = self.module(batch)
                self.accelerator.backward(loss / batches)
            for name, value in {"loss": loss.detach(), **terms}.items():
                sums[name] = sums.get(name, 0) + value.float() / batches
        if self.args.max_grad_norm:
            self.accelerator.clip_grad_norm_(self.trainable, self.args.max_grad_norm)
        self.optimizer.step()
        if not self.accelerator.optimizer_step_was_skipped:
            self.schedule.step()
        self.optimizer.zero_grad()
        return sums

    def _log_training(self, step: int, sums: dict[str, torch.Tensor]) -> dict[str, str]:
        """Write the mean losses since the last time; returns them for the progress bar."""
        steps = float(sums.pop("steps"))
        means = {name: float(value) / steps for name, value in sums.items()}
        self._write(step, "train", {**means, "learning_rate": self.schedule.get_last_lr()[0]})
        return {name: f"{value:.3f}" for name, value in means.items()}

    def _evaluate(self, step: int) -> None:
        """Evaluate on validation, if there is one, and keep the weights if they are the best so far."""
        if self.evaluate is None:
            if step == self.total_steps:
                self.result.best_step = step
                self.keep(step)
            return
        self.module.eval()
        metrics = self.evaluate()
        self.module.train()
        self._write(step, "validation", metrics)
        if not self.result.best_metrics or metrics["R@1"] > self.result.best_metrics["R@1"]:
            self.result.best_step, self.result.best_metrics = step, metrics
            self.keep(step)

    def _write(self, step: int, split: str, values: dict[str, Any]) -> None:
        """One line of `metrics.jsonl`, and the tracker."""
        if self.log is not None:
            self.log.write({"stage": self.stage.name, "step": step, "split": split, **values})
        tracked = {f"stage_{self.stage.name}/{split}/{name}": value for name, value in values.items()}
        self.accelerator.log(tracked, step=step)


__all__ = ["StageLoop", "StageModule", "StageResult"]
