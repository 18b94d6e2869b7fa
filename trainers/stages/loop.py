"""The training loop of a stage."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, send_to_device, tqdm
from torch import nn
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainerControl

from modeling_prompt_clip import PromptCLIPProcessor
from trainers.arguments.settings import StageSettings, TwoStageTrainingArguments
from trainers.distributed.preemption import Preempted
from trainers.distributed.sharding import (
    accumulating,
    load_module_state,
    load_optimizer_state,
    module_state,
    optimizer_state,
    prepare,
    whole_weights,
)
from trainers.run_folder.files import wrong_progress
from trainers.run_folder.metrics_log import MetricsLog
from trainers.run_folder.results import StageResult, stage_result
from trainers.stages.callbacks import StageCallbacks, completes
from trainers.stages.checkpoints import check_restored, settings_of
from trainers.stages.ema import WeightAverage
from trainers.stages.gradient_cache import GradientCache
from trainers.stages.layer_modes import FrozenWeights, layer_modes, uncompiled
from trainers.stages.module import StageModule
from trainers.stages.nonfinite_steps import NonfiniteSteps
from trainers.stages.optimization import stage_optimizer

logger = logging.getLogger(__name__)


class StageLoop:
    """Runs the steps of one stage.

    A step whose loss or gradient is not finite changes neither weights nor optimizer, on any process; schedule and
    data move on. See [`NonfiniteSteps`].

    Args:
        module: model and losses; only parameters that require a gradient are trained.
        loader: batches of this process, `gradient_accumulation_steps` for each of `total_steps` steps.
        eval_steps: evaluate every so many steps (a fraction if an epoch is not a whole number), and at the end.
        evaluate: returns validation metrics with `R@1`; `None` without a validation split.
        keep: called with a step whose weights are the best so far, or with the last one if nothing is evaluated.
        log: `metrics.jsonl`; `None` on all processes but the first.
        save: called with step, best step and state every `args.save_steps`, and before the run stops.
        asked_to_stop: called between steps, by all processes after the same ones.
        max_bad_steps: so many skipped steps in a row stop the run, with `bad_batch.json` in its folder.
        image_names: by `image_id`, for that file.
        callbacks: transformers' callbacks.
        steps_per_epoch: optimizer steps of a pass over the data; by default all of the stage.
        processor: for the callbacks.
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
        eval_steps: int | Fraction,
        evaluate: Callable[[], dict[str, float]] | None,
        keep: Callable[[int], None],
        log: MetricsLog | None,
        save: Callable[[int, int, dict[str, Any]], None] | None = None,
        asked_to_stop: Callable[[], bool] | None = None,
        max_bad_steps: int = 5,
        image_names: Sequence[str] | None = None,
        callbacks: Sequence[TrainerCallback] = (),
        steps_per_epoch: int | Fraction | None = None,
        processor: PromptCLIPProcessor | None = None,
    ) -> None:
        self.accelerator = accelerator
        self.args = args
        self.stage = stage
        self.total_steps = total_steps
        self.eval_steps = eval_steps
        self.evaluate = evaluate
        self.keep = keep
        self.log = log
        self.save = save
        self.asked_to_stop = asked_to_stop
        self.nonfinite_steps = NonfiniteSteps(
            stage.name, max_bad_steps, Path(args.output_dir, "bad_batch.json"), image_names
        )
        optimizer, self.schedule = stage_optimizer(args, stage, module, total_steps)
        self.objective = module.objective
        self.module, self.optimizer = prepare(accelerator, args, module, optimizer)
        self.frozen_weights = FrozenWeights(accelerator, self.module)
        in_parts = 0 < args.micro_batch_size < args.batch_size
        self.cache = GradientCache(accelerator, self.module, module, args.micro_batch_size) if in_parts else None
        self.trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
        averaged = [parameter for parameter in module.model.parameters() if parameter.requires_grad]
        self.average = WeightAverage(averaged, args.ema_decay) if args.ema_decay else None
        self.batches: Iterator[dict[str, torch.Tensor]] = iter(loader)
        self.sums: dict[str, torch.Tensor] = {}
        self.result = StageResult()
        self.asked = TrainerControl()  # by callbacks, after the last step
        self.callbacks = StageCallbacks(
            *(accelerator, args, stage, callbacks),
            validated=evaluate is not None,
            max_steps=total_steps,
            steps_per_epoch=steps_per_epoch or total_steps,
            model=module.model,
            processor=processor,
            optimizer=self.optimizer,
            schedule=self.schedule,
            loader=loader,
        )

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, without weights and random numbers. All processes must call it."""
        scaler = self.accelerator.scaler
        return {
            "result": asdict(self.result),
            "sums": {name: float(value) for name, value in self.sums.items()},
            "bad_steps": self.nonfinite_steps.state(),
            "objective": module_state(self.accelerator, self.objective),
            "optimizer": optimizer_state(self.accelerator, self.module, self.optimizer),
            "schedule": self.schedule.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "average": self.average.state_dict() if self.average is not None else None,
            "callbacks": self.callbacks.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the `state` of the first process; the loader must start after its steps.

        Raises ValueError, or whatever torch raises: it is not of such a loop.
        """
        if problem := wrong_progress({self.stage.name: state["result"]}):
            raise ValueError(problem)
        own = settings_of(self.optimizer, self.schedule)
        self.result = stage_result(state["result"])
        self.nonfinite_steps.load_state(state["bad_steps"])
        self.sums = {name: torch.tensor(float(value)) for name, value in state["sums"].items()}
        load_module_state(self.accelerator, self.objective, state["objective"])
        load_optimizer_state(self.accelerator, self.module, self.optimizer, state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.accelerator.distributed_type != DistributedType.DEEPSPEED:  # whose optimizer shows parts of both
            check_restored(self.optimizer, self.schedule, own)
        if state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        best = self.result.best_step, self.result.best_metrics
        self.callbacks.load_state_dict(state.get("callbacks"), *best)  # earlier versions had none

    def run(self) -> StageResult:
        """Train to the end of the stage.

        Raises Preempted: the run was asked to stop, and has saved a checkpoint.
        """
        self.module.train()
        started = time.monotonic() - self.result.seconds
        first = self.result.steps + 1
        title = f"stage {self.stage.name}"
        pause = 0.2 if sys.stderr.isatty() else 10.0  # seconds between drawings: a log file wants few
        bar = tqdm(total=self.total_steps, initial=first - 1, desc=title, unit="step", mininterval=pause)
        modes = layer_modes(self.module, compiled=self.args.compile, checkpointed=self.args.gradient_checkpointing)
        self.callbacks.train_begins(first - 1)
        with bar as progress, modes:
            for step in range(first, self.total_steps + 1):
                self.callbacks.step_begins()
                with self.frozen_weights.in_half_precision():
                    losses = self._step(step)
                for name, value in losses.items():
                    self.sums[name] = self.sums[name] + value if name in self.sums else value
                self.result.steps = step
                progress.update()
                ends = self._report(step, progress)
                self.result.seconds = time.monotonic() - started
                if ends:
                    break
                self._save_or_stop(step)
        return self.result

    def _report(self, step: int, progress: tqdm) -> bool:
        """Log and evaluate if due or asked for by a callback; return whether the stage ends here."""
        log, evaluate = step % self.args.log_steps == 0, completes(step, self.eval_steps)
        self.callbacks.step_ended(step)
        self.asked = self.callbacks.asked(now=log or evaluate)
        ends = step == self.total_steps or self.asked.should_training_stop
        log, evaluate = log or ends or self.asked.should_log, evaluate or ends or self.asked.should_evaluate
        if log:
            progress.set_postfix(self._log_training(step), refresh=False)
        if evaluate:
            self._evaluate(step, last=ends)
        if not ends and (log or evaluate):  # a callback may have seen in the figures that it is enough
            self.asked = self.callbacks.asked(now=True)
            if self.asked.should_training_stop:
                ends = True
                if not log:
                    self._log_training(step)
                if not evaluate or self.evaluate is None:
                    self._evaluate(step, last=True)
        return ends

    def _save_or_stop(self, step: int) -> None:
        """Save a checkpoint if one is due or the run is asked to stop, which raises [`Preempted`]."""
        # asking all processes waits for the device: done when the losses have been read anyway
        asks = self.accelerator.num_processes == 1 or step % self.args.log_steps == 0
        stop = self.asked_to_stop is not None and asks and self.asked_to_stop()
        due = stop or self.asked.should_save or completes(step, self.args.save_steps or self.eval_steps)
        if self.save is not None and due:
            self.result.skipped_steps = self.nonfinite_steps.read()
            self.save(step, self.result.best_step, self.state())
            self.callbacks.saved()
        if stop:
            raise Preempted(
                f"asked to stop: stage {self.stage.name} is saved at step {step}; resume with the same "
                "command and --resume auto"
            )

    def _step(self, step: int) -> dict[str, torch.Tensor]:
        """Take a step; return its losses and 1 under "steps", or zeros if it was skipped, all on the device."""
        batches = self.args.gradient_accumulation_steps
        losses: dict[str, torch.Tensor] = {}
        image_ids = []
        for number in range(batches):
            batch = send_to_device(next(self.batches), self.accelerator.device, non_blocking=True)
            # gradients travel between processes once a step, with the last batch
            wait = accumulating(self.accelerator, self.module) if number < batches - 1 else contextlib.nullcontext()
            with wait:
                loss, terms = self._backward(batch, batches)
            for name, value in {"loss": loss.detach(), **terms}.items():
                losses[name] = losses.get(name, 0) + value.float() / batches
            image_ids.append(batch["image_ids"])
        finite = losses["loss"].isfinite()
        norm = self._clip_gradients()
        if self.accelerator.scaler is None:  # float16 overflows as a matter of course, and its scaler sees to it
            finite = finite & norm.isfinite()
        self._update(finite)
        self.nonfinite_steps.add(step, finite, torch.cat(image_ids))
        return {name: value.where(finite, 0.0) for name, value in losses.items()} | {"steps": finite.float()}

    def _backward(self, batch: dict[str, torch.Tensor], batches: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Backpropagate one of a step's `batches`; return its loss and each objective's own value."""
        if self.cache is not None:
            return self.cache.backward(batch, batches)
        loss, terms = self.module(batch)
        self.accelerator.backward(loss / batches)
        return loss, terms

    def _clip_gradients(self) -> torch.Tensor:
        """Clip the gradient by `max_grad_norm`, and return its norm before, over all processes."""
        by_engine = self.accelerator.distributed_type == DistributedType.DEEPSPEED  # which is only asked for it
        if self.args.max_grad_norm or by_engine:
            norm = self.accelerator.clip_grad_norm_(self.trainable, self.args.max_grad_norm)
        else:
            norm = nn.utils.get_total_norm([p.grad for p in self.trainable if p.grad is not None])
        if hasattr(norm, "full_tensor"):  # FSDP2 shards even this
            return norm.full_tensor()
        return torch.as_tensor(0.0 if norm is None else norm)  # DeepSpeed clips by itself, and may not say

    def _update(self, finite: torch.Tensor) -> None:
        """Step the optimizer and the schedule; weights change only if the step is `finite`."""
        if self.accelerator.scaler is not None or self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            self.optimizer.step()  # these step or skip by their own rules
        elif self.optimizer.defaults["fused"]:
            # what torch's fused optimizers take from a gradient scaler: at 1 their kernels write nothing
            self.optimizer.optimizer.found_inf = (~finite).float()
            self.optimizer.step()
        elif finite:  # no such kernel for this device, which must be waited for
            self.optimizer.step()
        skipped = self.accelerator.optimizer_step_was_skipped
        if not skipped or self.accelerator.scaler is None:  # float16's scaler starts by skipping
            self.schedule.step()
        self.optimizer.zero_grad()
        self.objective.limit_temperatures()
        if self.average is not None:
            self.average.update(torch.zeros_like(finite) if skipped else finite)

    def _log_training(self, step: int) -> dict[str, str]:
        """Log the mean losses since the last time, without skipped steps, and return them for the progress bar."""
        self.result.skipped_steps = self.nonfinite_steps.read()
        sums, self.sums = self.sums, {}
        steps = float(sums.pop("steps"))
        means = {name: float(value) / steps for name, value in sums.items()} if steps else {}
        rate = self.schedule.get_last_lr()[0]
        values = {**means, "learning_rate": rate, "skipped_steps": self.result.skipped_steps}
        self._write(step, "train", values)
        self.callbacks.logged(values)
        return {name: f"{value:.3f}" for name, value in means.items()}

    def _evaluate(self, step: int, *, last: bool) -> None:
        """Evaluate on validation and keep the best weights, which are the average with `ema_decay`."""
        with self.average.applied() if self.average is not None else contextlib.nullcontext():
            if self.evaluate is None:
                if last:
                    self.result.best_step = step
                    self.keep(step)
                return
            self.module.eval()
            try:
                with whole_weights(self.module), uncompiled(self.args.compile):
                    metrics = self.evaluate()
            except ValueError as error:
                raise ValueError(f"stage {self.stage.name}, validation after step {step}: {error}") from error
            self.module.train()
            self._write(step, "validation", metrics)
            self.callbacks.evaluated(metrics)
            if not self.result.best_metrics or metrics["R@1"] > self.result.best_metrics["R@1"]:
                self.result.best_step, self.result.best_metrics = step, metrics
                self.callbacks.found_best(step, metrics)
                self.keep(step)

    def _write(self, step: int, split: str, values: dict[str, Any]) -> None:
        """One line of `metrics.jsonl`, and the tracker."""
        if self.log is not None:
            self.log.write({"stage": self.stage.name, "step": step, "split": split, **values})
        tracked = {f"stage_{self.stage.name}/{split}/{name}": value for name, value in values.items()}
        self.accelerator.log(tracked, step=step)


__all__ = ["StageLoop"]
