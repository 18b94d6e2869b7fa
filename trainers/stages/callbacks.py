"""transformers' callbacks in a stage of training."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import reduce
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader
from transformers import DefaultFlowCallback, TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import CallbackHandler, ExportableState

from dataset_scripts.common.text.documents import parse_json
from modeling_prompt_clip import PromptCLIPProcessor
from trainers.arguments.settings import StageSettings, TwoStageTrainingArguments

PREFIX = "text_to_image_"  # of the validation metrics that select a stage's weights
METRIC_FOR_BEST_MODEL = f"{PREFIX}R@1"
_ASKED = ("should_training_stop", "should_log", "should_evaluate", "should_save")


def checked_callbacks(
    callbacks: Sequence[TrainerCallback | type[TrainerCallback]] | None,
) -> list[TrainerCallback]:
    """Instances of transformers' callbacks; classes are called without arguments.

    Raises TypeError: one is no `TrainerCallback`.
    """
    made = [each() if isinstance(each, type) else each for each in callbacks or ()]
    for each in made:
        if not isinstance(each, TrainerCallback):
            raise TypeError(
                f"callbacks holds {each!r}, which is no transformers.TrainerCallback; derive its class from that one"
            )
    return made


class StageCallbacks:
    """Calls the callbacks at each event of a stage, which is a whole training to them.

    Every process calls its own. What a callback of one process asks for, all do; with several processes they are
    asked where losses are logged or the model is evaluated, since asking waits for the device.

    Args:
        validated: whether there is a validation split.
        max_steps: optimizer steps of the stage.
        steps_per_epoch: optimizer steps of one pass over the data.
        model, processor, optimizer, schedule, loader: keyword arguments of the events.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        args: TwoStageTrainingArguments,
        stage: StageSettings,
        callbacks: Sequence[TrainerCallback],
        *,
        validated: bool,
        max_steps: int,
        steps_per_epoch: int | Fraction,
        model: nn.Module,
        processor: PromptCLIPProcessor | None,
        optimizer: torch.optim.Optimizer,
        schedule: LRScheduler,
        loader: DataLoader,
    ) -> None:
        self.accelerator = accelerator
        self.callbacks = list(callbacks)
        self.steps_per_epoch = steps_per_epoch
        self.handler = CallbackHandler([_LoopDecides(), *callbacks], model, processor, optimizer, schedule)
        self.handler.train_dataloader = loader
        self.args = callback_arguments(args, stage, validated=validated)
        self.control = TrainerControl()
        self.state = TrainerState(
            max_steps=max_steps,
            num_train_epochs=math.ceil(max_steps / steps_per_epoch),
            logging_steps=args.log_steps,
            train_batch_size=args.batch_size,
            is_world_process_zero=accelerator.is_main_process,
            is_local_process_zero=accelerator.is_local_main_process,
        )
        self._within_epoch = False

    def train_begins(self, steps: int) -> None:
        """The stage begins, or resumes after so many steps."""
        self._at(steps)
        self._call("on_train_begin")

    def train_ended(self) -> None:
        """The stage is done, and the model has its best weights."""
        self._epoch_ends()
        self._call("on_train_end")

    def step_begins(self) -> None:
        """A step begins, perhaps the first of an epoch."""
        if not self._within_epoch:
            self._within_epoch = True
            self._call("on_epoch_begin")
        # not the handler's own event, which forgets what processes have not yet agreed on
        self.control = self.handler.call_event("on_step_begin", self.args, self.state, self.control)

    def step_ended(self, step: int) -> None:
        """A step is done, perhaps the last of an epoch."""
        self._at(step)
        self._call("on_step_end")
        if completes(step, self.steps_per_epoch) or step == self.state.max_steps:
            self._epoch_ends()

    def asked(self, now: bool) -> TrainerControl:
        """Return what the callbacks of any process ask for; several processes exchange it only `now`."""
        wanted = [bool(getattr(self.control, name)) for name in _ASKED]
        if self.callbacks and self.accelerator.num_processes > 1:
            if not now:
                return TrainerControl()
            votes = torch.tensor(wanted, dtype=torch.float32, device=self.accelerator.device)
            wanted = (reduce(votes, reduction="sum") > 0).tolist()
        return TrainerControl(**dict(zip(_ASKED, wanted, strict=True)))

    def logged(self, values: Mapping[str, float]) -> None:
        """Losses or metrics were logged."""
        logs = {**values, "epoch": self.state.epoch}
        self.state.log_history.append({**logs, "step": self.state.global_step})
        self._call("on_log", logs=logs)

    def evaluated(self, metrics: Mapping[str, float]) -> None:
        """The model was evaluated on validation."""
        named = {f"eval_{PREFIX}{name}": value for name, value in metrics.items()}
        self.logged(named)
        self._call("on_evaluate", metrics={**named, "epoch": self.state.epoch})

    def found_best(self, step: int, metrics: Mapping[str, float]) -> None:
        """The weights of this step are the best so far; transformers' callbacks learn it after `evaluated`."""
        self.state.best_metric, self.state.best_global_step = metrics.get("R@1"), step

    def saved(self) -> None:
        """A checkpoint was written."""
        self._call("on_save")

    def state_dict(self) -> str | None:
        """State of the callbacks for a checkpoint, as JSON; `None` without callbacks.

        Raises TypeError: the state of a callback is no JSON.
        """
        if not self.callbacks:
            return None
        stateful = [each for each in self.callbacks if isinstance(each, ExportableState)]
        exported = [[type(each).__name__, each.state()] for each in stateful]
        try:
            return json.dumps({"log_history": self.state.log_history, "callbacks": exported})
        except TypeError as error:
            names = ", ".join(type(each).__name__ for each in stateful)
            raise TypeError(
                f"state() of a callback ({names}) is no JSON ({error}); return numbers and texts"
            ) from error

    def load_state_dict(self, state: str | None, best_step: int, best_metrics: Mapping[str, float]) -> None:
        """Restore `state_dict`; callbacks are matched by the name of their class, in order."""
        if best_metrics:
            self.found_best(best_step, best_metrics)
        if state is None:
            return
        saved = parse_json(state)
        self.state.log_history = list(saved["log_history"])
        for callback in self.callbacks:
            found = next((entry for entry in saved["callbacks"] if entry[0] == type(callback).__name__), None)
            if found is not None:
                saved["callbacks"].remove(found)
                vars(callback).update(found[1].get("attributes", {}))

    def _epoch_ends(self) -> None:
        if self._within_epoch:
            self._within_epoch = False
            self._call("on_epoch_end")

    def _at(self, step: int) -> None:
        self.state.global_step, self.state.epoch = step, float(step / self.steps_per_epoch)

    def _call(self, event: str, **told: Any) -> None:
        self.control = getattr(self.handler, event)(self.args, self.state, self.control, **told)


class _LoopDecides(DefaultFlowCallback):
    """Stands where the handler wants transformers' rules of when to log, evaluate and save: the loop has its own."""

    def on_step_end(self, *told: Any, **also: Any) -> None:
        """Ask for nothing."""

    def on_epoch_end(self, *told: Any, **also: Any) -> None:
        """Ask for nothing."""


def callback_arguments(args: TwoStageTrainingArguments, stage: StageSettings, *, validated: bool) -> SimpleNamespace:
    """The settings for callbacks: ours, those of the stage, and both under transformers' names."""
    of_transformers = {
        "metric_for_best_model": METRIC_FOR_BEST_MODEL,
        "greater_is_better": True,
        "load_best_model_at_end": True,
        "eval_strategy": "steps" if validated else "no",
        "save_strategy": "steps",
        "logging_strategy": "steps",
        "logging_steps": args.log_steps,
        "per_device_train_batch_size": args.batch_size,
        "per_device_eval_batch_size": args.eval_batch_size,
        "num_train_epochs": stage.epochs,
        "disable_tqdm": False,
    }
    of_stage = {**asdict(stage), "current_stage": stage.name}
    return SimpleNamespace(**{**asdict(args), **of_stage, **of_transformers})


def completes(step: int, every: int | Fraction) -> bool:
    """Whether a step is the first after which another `every` steps are done."""
    return step // every > (step - 1) // every


__all__ = ["METRIC_FOR_BEST_MODEL", "StageCallbacks", "callback_arguments", "checked_callbacks", "completes"]
