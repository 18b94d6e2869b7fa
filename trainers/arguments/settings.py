"""Every setting of a two-stage run, checked before anything is loaded."""

import math
import os
from dataclasses import dataclass, fields
from fractions import Fraction

from dataset_scripts.common.hub import check_repo_id
from trainers.arguments.aliases import accept_aliases
from trainers.arguments.checks import check_settings
from trainers.arguments.data_settings import DataSettings
from trainers.arguments.loss_settings import LossSettings
from trainers.arguments.model_settings import ModelSettings
from trainers.arguments.optimization_settings import OptimizationSettings
from trainers.arguments.parsing import parse_json_dict, parse_numbers, parse_objectives
from trainers.arguments.run_settings import RunSettings
from trainers.transforms.captions import TEXT_AUGMENTATIONS

MAX_SIDE = 4096  # pixels


@dataclass(frozen=True)
class StageSettings:
    """Settings of one stage; see the `stage_*` fields of [`TwoStageTrainingArguments`]."""

    name: str
    epochs: float
    max_steps: int
    learning_rate: float
    weight_decay: float
    warmup_ratio: float
    objectives: dict[str, float]

    def total_steps(self, steps_per_epoch: int | Fraction) -> int:
        """Count optimizer steps: `max_steps` if set, else those of `epochs`."""
        # exact: 0.07 epochs of 100 steps are 7 of them, but 0.07 * 100 is a little more
        return self.max_steps if self.max_steps > 0 else math.ceil(Fraction(str(self.epochs)) * steps_per_epoch)


@accept_aliases
@dataclass
class TwoStageTrainingArguments(LossSettings, OptimizationSettings, RunSettings, DataSettings, ModelSettings):
    """Settings of a two-stage run.

    Not transformers' `TrainingArguments`, because two optimizers and two schedules need their settings twice. Defaults
    are choices of this package; `trainers/configs/*.yaml` are complete recipes with the reason for each value.

    Other names of that class are accepted here, in recipes and on the command line:

    | transformers | here |
    |---|---|
    | `per_device_train_batch_size`, `per_device_eval_batch_size` | `batch_size`, `eval_batch_size` |
    | `logging_steps`, `dataloader_num_workers` | `log_steps`, `num_workers` |
    | `bf16`, `fp16` | `mixed_precision` |
    | `optim`, `torch_compile` | `optimizer`, `compile` |
    | `resume_from_checkpoint` (true or false) | `resume` |
    | `learning_rate`, `weight_decay`, `warmup_ratio`, `max_steps` | `stage_two_learning_rate` ..., if one stage runs |
    | `num_train_epochs` | `stage_two_epochs`, likewise |

    Raises:
        ValueError: a value out of range, or two settings that contradict each other.
        TypeError: an unknown name.
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, tuple):
                setattr(self, each.name, list(value))
            elif isinstance(value, os.PathLike):
                setattr(self, each.name, os.fspath(value))
            elif value is False and "no" in each.metadata["rule"].choices:  # YAML reads an unquoted no as false
                setattr(self, each.name, "no")
        self.stage_one_objectives = parse_objectives("stage_one_objectives", self.stage_one_objectives)
        self.stage_two_objectives = parse_objectives("stage_two_objectives", self.stage_two_objectives)
        self.augment_text = parse_numbers("augment_text", self.augment_text, TEXT_AUGMENTATIONS, most=1)
        self.dataset_options = parse_json_dict("dataset_options", self.dataset_options)
        check_settings(self)
        self._check_choices()

    def _check_choices(self) -> None:
        for name in ("stage_one_max_steps", "stage_two_max_steps"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} is 0; give at least 1 step, or -1 to count epochs")
        if len(self.image_size) != 2 or not all(1 <= side <= MAX_SIDE for side in self.image_size):
            raise ValueError(
                f"image_size is {self.image_size}; give height and width in pixels, up to {MAX_SIDE}, such as 384 128"
            )
        if tuple(self.stages) not in (("one", "two"), ("one",), ("two",)):
            raise ValueError(f"stages is {self.stages}; give 'one two', 'one' or 'two'")
        if self.resume == "auto" and self.overwrite_output_dir:
            raise ValueError("resume is auto and overwrite_output_dir is set; resume the run or replace it")
        if self.push_to_hub and not self.hub_model_id:
            raise ValueError("push_to_hub is set, but hub_model_id is not; name the repository, USER/NAME")
        if self.hub_model_id is not None:
            check_repo_id(self.hub_model_id, "hub_model_id")
        if self.streaming and self.also_train_on:
            raise ValueError(
                "streaming is set and so is also_train_on, but a stream cannot be joined: leave streaming out; sets "
                "in Parquet can be joined too"
            )
        if self.streaming and self.sampling != "shuffle":
            raise ValueError(
                f"streaming is set and sampling is {self.sampling!r}, but a stream can only be shuffled: leave one out"
            )
        self._check_stages()

    def _check_stages(self) -> None:
        if self.direct:
            if self.adapter:
                raise ValueError(
                    "direct is set and so is adapter; direct fine-tuning has no prompts: drop one of them"
                )
            self.stages = ["two"]
        elif not self.text_prompt_length and not self.vision_prompt_length:
            raise ValueError(
                "text_prompt_length and vision_prompt_length are both 0; prompt a tower, or set direct to fine-tune "
                "without prompts"
            )
        if self.adapter and "one" in self.stages:
            raise ValueError(f"adapter is {self.adapter!r} but stage one would train a new one; add --stages two")
        if self.stages == ["two"] and not self.adapter and not self.direct:
            raise ValueError("stages is two without an adapter; name a stage-one adapter folder, or set direct")
        if self.learn_temperature:
            from trainers.objectives.combined import first_temperatures  # torch, which `train --help` does without

            for name in self.stages:
                first_temperatures(self.stage(name).objectives, self.objective_options())

    def stage(self, name: str) -> StageSettings:
        """The settings of stage `"one"` or `"two"`."""
        prefix = f"stage_{name}_"
        fields = ("epochs", "max_steps", "learning_rate", "weight_decay", "warmup_ratio", "objectives")
        return StageSettings(name=name, **{key: getattr(self, prefix + key) for key in fields})


__all__ = ["StageSettings", "TwoStageTrainingArguments"]
