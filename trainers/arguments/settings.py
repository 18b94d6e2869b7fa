"""Every setting of a two-stage run, checked before anything is loaded."""

import math
import os
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

from dataset_scripts.annotations.splitting import SPLIT_RULES
from dataset_scripts.common.hub import check_repo_id
from trainers.arguments.checks import check_settings
from trainers.arguments.fields import setting
from trainers.arguments.parsing import parse_json_dict, parse_numbers, parse_objectives
from trainers.transforms.captions import TEXT_AUGMENTATIONS

MAX_SIDE = 4096  # pixels


@dataclass(frozen=True)
class StageSettings:
    """What differs between the stages; see the `stage_*` fields of [`TwoStageTrainingArguments`]."""

    name: str
    epochs: float
    max_steps: int
    learning_rate: float
    weight_decay: float
    warmup_ratio: float
    objectives: dict[str, float]

    def total_steps(self, steps_per_epoch: int | Fraction) -> int:
        """Optimizer steps of the stage: `max_steps` where it is set, else what `epochs` of the data need."""
        # exact: 0.07 epochs of 100 steps are 7 of them, but 0.07 * 100 is a little more
        return self.max_steps if self.max_steps > 0 else math.ceil(Fraction(str(self.epochs)) * steps_per_epoch)


@dataclass
class TwoStageTrainingArguments:
    """Settings of a two-stage run.

    Not transformers' `TrainingArguments`: two optimizers and two schedules need their settings twice. Names are those
    of that class wherever they mean the same. `batch_size` is that of one process. Defaults are choices of this
    package; `trainers/configs/*.yaml` are complete recipes with the reason for each value.

    Raises:
        ValueError: a value out of range, or two settings that contradict each other.
    """

    # what is trained
    base_model: str = setting(
        default="stand-in",
        help="CLIP to start from: a folder, a Hub id, or 'stand-in', the small one that ships with us.",
        local="model",
    )
    image_size: list[int] = setting(
        default_factory=lambda: [384, 128], help="Height and width in pixels, multiples of the patch size."
    )
    text_prompt_length: int = setting(
        default=4, help="Prompts in each prompted layer of the text tower.", low=0, high=1024
    )
    vision_prompt_length: int = setting(
        default=4, help="Prompts in each prompted layer of the vision tower.", low=0, high=1024
    )
    prompt_layers: list[int] | None = setting(
        default=None, help="Layers that get prompts, such as 0 1 2; all of them when left out."
    )
    prompt_init: str = setting(
        default="normal",
        help="How prompts start: 'normal', or 'activations' of the frozen towers.",
        choices=("normal", "activations"),
    )
    prompt_init_phrase: str = setting(
        default="a photo of a person", help="The phrase that 'activations' starts text prompts from."
    )
    coupled_prompts: bool = setting(
        default=False, help="Vision prompts are a learned projection of the text prompts, as in MaPLe."
    )
    stages: list[str] = setting(
        default_factory=lambda: ["one", "two"], help="Stages to run: 'one two', 'one', or 'two'."
    )
    direct: bool = setting(
        default=False, help="Direct fine-tuning, the baseline: stage two alone, from the base model, without prompts."
    )
    adapter: str | None = setting(
        default=None, help="With --stages two: the stage-one adapter folder to merge before stage two.", local="model"
    )
    attn_implementation: str | None = setting(
        default=None, help="'sdpa', 'eager' or 'flash_attention_2'; transformers' choice when left out."
    )

    # data
    dataset: str = setting(
        default="synthetic_pedes",
        help="The data set: a name (with data_dir), a folder, or USER/NAME on the Hub.",
        local="data",
    )
    data_dir: str | None = setting(
        default=None,
        help="The data set's folder (not for synthetic_pedes).",
        resumable=True,
        local="folder",
        published=False,
    )
    dataset_options: dict[str, Any] = setting(
        default_factory=dict,
        help="Further options of the data set, as JSON: '{\"seed\": 1}'.",
        local="data",
        card="Options of the data set: {}.",
    )
    clean_captions: bool = setting(
        default=True,
        help="Put spaces and punctuation of captions right (sets in folders).",
        card="Captions were not cleaned.",
    )
    split_rule: str = setting(
        default="names",
        help="How splits are drawn that a set in a folder lacks: by 'names', or 'numbers' as once.",
        choices=SPLIT_RULES,
        before="numbers",
    )
    on_bad_image: str = setting(
        default="error",
        help="'error', or 'skip' to list bad images and train on the rest (folders).",
        choices=("error", "skip"),
    )
    also_train_on: list[str] = setting(
        default_factory=list,
        help="Sets whose train splits are added: NAME=FOLDER, a folder, or USER/NAME on the Hub.",
        local="data",
    )
    on_leak: str = setting(
        default="error",
        help="Test images in the joined training set: 'error', 'drop' those persons, or 'allow'.",
        choices=("error", "drop", "allow"),
    )
    streaming: bool = setting(default=False, help="Read the train split while training (Parquet and the Hub).")
    shuffle_buffer: int = setting(
        default=10_000, help="With streaming: caption-image pairs that are held and shuffled.", low=1
    )
    sampling: str = setting(
        default="shuffle",
        help=(
            "What a batch holds: any pairs ('shuffle'), several of each of some persons ('identity'), or "
            "captions of about one 'length', which are faster."
        ),
        choices=("shuffle", "identity", "length"),
    )
    num_instances: int = setting(default=4, help="With --sampling identity: pairs of a person in a batch.", low=1)
    num_workers: int = setting(
        default=2, help="Processes that prepare images, beside each training one.", low=0, high=256, resumable=True
    )

    # the run
    output_dir: str = setting(
        default="runs/two_stage",
        help="The run folder; it must not hold a run yet.",
        resumable=True,
        local="folder",
        published=False,
    )
    overwrite_output_dir: bool = setting(
        default=False, help="Replace the run in output_dir.", resumable=True, published=False
    )
    resume: str = setting(
        default="no",
        help="'auto' goes on with the run in output_dir, if there is one; 'no' refuses it.",
        choices=("no", "auto"),
        resumable=True,
        published=False,
    )
    save_steps: int = setting(
        default=0,
        help="Save what a killed run goes on from every so many steps; 0: when evaluating.",
        low=0,
        resumable=True,
    )
    save_total_limit: int = setting(
        default=2, help="Checkpoints to keep; the best weights stay apart.", low=1, resumable=True
    )
    seed: int = setting(default=0, help="Everything random hangs on it.", low=0, high=2**32 - 1)
    log_steps: int = setting(default=10, help="Log losses every so many optimizer steps.", low=1, resumable=True)
    eval_steps: int = setting(
        default=0, help="Evaluate on validation every so many steps; 0 does once an epoch.", low=0
    )
    eval_batch_size: int = setting(
        default=128, help="Images or captions encoded at once in evaluation.", low=1, resumable=True
    )
    report_to: str = setting(default="tensorboard", help="Tracker by accelerate's name, or 'none'.", resumable=True)

    # the Hub
    push_to_hub: bool = setting(
        default=False, help="Upload the run to the Hub; needs hub_model_id.", resumable=True, published=False
    )
    hub_model_id: str | None = setting(
        default=None, help="The repository, USER/NAME; made if it does not exist.", resumable=True, published=False
    )
    hub_strategy: str = setting(
        default="end",
        help=(
            "When: at the 'end', or also whenever validation finds better weights ('best') or a checkpoint is "
            "saved ('every_save')."
        ),
        choices=("end", "best", "every_save"),
        resumable=True,
        published=False,
    )
    hub_private_repo: bool = setting(
        default=True,
        help="Whether a new repository is private; a public one is not filled then.",
        resumable=True,
        published=False,
    )

    # optimisation, both stages
    batch_size: int = setting(default=64, help="Caption-image pairs of one process in one step.", low=2)
    gradient_accumulation_steps: int = setting(
        default=1, help="Batches a step; losses compare only the pairs of one batch.", low=1
    )
    micro_batch_size: int = setting(
        default=0,
        help="Pairs that are in memory at once; losses still compare the whole batch. 0 is the whole batch.",
        low=0,
    )
    gradient_checkpointing: bool = setting(
        default=False, help="Recompute activations in the backward pass: less memory, more time."
    )
    compile: bool = setting(default=False, help="Compile the towers' layers with torch.compile.")
    mixed_precision: str = setting(
        default="no", help="'no', 'bf16' or 'fp16', by accelerate.", choices=("no", "bf16", "fp16")
    )
    optimizer: str = setting(default="adamw", help="'adamw' or 'adam'.", choices=("adamw", "adam"))
    adam_beta1: float = setting(default=0.9, help="In [0, 1).", low=0, below=1)
    adam_beta2: float = setting(default=0.999, help="In [0, 1).", low=0, below=1)
    adam_epsilon: float = setting(default=1e-8, help="Above 0.", above=0)
    bias_lr_multiplier: float = setting(
        default=1.0,
        help="Learning rate of biases over the others'.",
        above=0,
        card="Biases learn at {:g} times the rate.",
    )
    head_lr_multiplier: float = setting(
        default=5.0,
        help="Learning rate of loss heads over the others'.",
        above=0,
        card="Loss heads learn at {:g} times the rate.",
        losses=("id", "mlm"),
    )
    max_grad_norm: float = setting(default=1.0, help="Clip the gradient's norm to this; 0 does not clip.", low=0)
    layer_lr_decay: float = setting(
        default=1.0,
        help="Stage two: learning rate of a layer over that of the layer above it; 1 is off.",
        above=0,
        high=1,
        card="In stage two, each layer learns at {:g} of the rate of the one above it.",
    )
    ema_decay: float = setting(
        default=0.0,
        help="Evaluate and keep a moving average of the weights, such as 0.999; 0 is off.",
        low=0,
        below=1,
        card="Kept and tested: a moving average of the weights, decay {:g}.",
    )
    max_bad_steps: int = setting(
        default=5, help="Steps in a row with a loss or gradient that is not finite that stop the run.", low=1
    )
    warmup_start: float = setting(
        default=0.1, help="Learning rate at step 0 over the full one, in [0, 1].", low=0, high=1
    )

    # stage one: domain adaptation, prompts only
    stage_one_epochs: float = setting(default=10.0, help="Passes over the captions in stage one.", above=0)
    stage_one_max_steps: int = setting(default=-1, help="Steps of stage one, instead of epochs; -1 is off.", low=-1)
    stage_one_learning_rate: float = setting(default=3e-3, help="Peak learning rate of the prompts.", above=0)
    stage_one_weight_decay: float = setting(default=0.0, help="Weight decay of prompts and loss heads.", low=0)
    stage_one_warmup_ratio: float = setting(default=0.1, help="Share of stage one that warms up.", low=0, high=1)
    stage_one_objectives: dict[str, float] = setting(
        default_factory=lambda: {"sdm": 1.0}, help="Losses and weights: sdm=1,id=0.5 or JSON."
    )

    # stage two: task adaptation, CLIP itself
    stage_two_epochs: float = setting(default=60.0, help="Passes over the captions in stage two.", above=0)
    stage_two_max_steps: int = setting(default=-1, help="Steps of stage two, instead of epochs; -1 is off.", low=-1)
    stage_two_learning_rate: float = setting(default=1e-5, help="Peak learning rate of CLIP's weights.", above=0)
    stage_two_weight_decay: float = setting(default=0.01, help="Weight decay of CLIP's matrices.", low=0)
    stage_two_warmup_ratio: float = setting(default=0.1, help="Share of stage two that warms up.", low=0, high=1)
    stage_two_objectives: dict[str, float] = setting(
        default_factory=lambda: {"sdm": 1.0}, help="Losses and weights: sdm=1,id=0.5 or JSON."
    )

    stage_two_lora_rank: int = setting(
        default=0,
        help="Train low-rank updates of CLIP's matrices, of this rank; 0 trains CLIP itself.",
        low=0,
        high=4096,
    )
    stage_two_lora_alpha: float = setting(default=16.0, help="Scale of these updates: alpha / rank.", above=0)

    # losses
    sdm_temperature: float = setting(default=0.02, help="Temperature of sdm, above 0.", above=0)
    itc_temperature: float = setting(default=0.07, help="Temperature of itc, above 0.", above=0)
    tal_temperature: float = setting(default=0.015, help="Temperature of tal, above 0.", above=0)
    tal_margin: float = setting(default=0.1, help="Margin of tal, 0 or more.", low=0)
    sdm_same_person_weight: float = setting(
        default=1.0, help="Target of sdm for another image of the person; for the same image it is 1.", low=0
    )
    itc_same_image_weight: float = setting(
        default=0.0, help="Target of itc for another caption of the image; for its own it is 1.", low=0
    )
    itc_same_person_weight: float = setting(
        default=0.0, help="Target of itc for another image of the person; 1 and 1 are TBPS-CLIP's.", low=0
    )
    citc_in_modal_weight: float = setting(default=0.25, help="Weight of citc's term within a tower.", low=0)
    citc_cross_modal_weight: float = setting(default=0.25, help="Weight of citc's term across towers.", low=0)
    mlm_layers: int = setting(default=4, help="Transformer layers of mlm's head, 0 or more.", low=0, high=64)
    mlm_probability: float = setting(
        default=0.15,
        help="Probability of a word to be masked for mlm.",
        low=0,
        high=1,
        card="For mlm, a word is masked with probability {:g}.",
        losses=("mlm",),
    )
    learn_temperature: bool = setting(
        default=False, help="Learn the temperatures of sdm, itc and tal, starting from those given."
    )
    label_smoothing: float = setting(default=0.0, help="Of itc and id, in [0, 1).", low=0, below=1)

    # augmentation of training images and captions
    augment_flip: float = setting(
        default=0.5, help="Probability of a mirrored image.", low=0, high=1, card="mirrored with probability {:g}"
    )
    augment_pad: int = setting(
        default=10,
        help="Padding before the random crop, in pixels of 384x128.",
        low=0,
        card="padded by {} pixels (at 384 rows) and cropped",
    )
    augment_erase: float = setting(
        default=0.5,
        help="Probability of an erased rectangle.",
        low=0,
        high=1,
        card="a rectangle erased with probability {:g}",
    )
    augment_color_jitter: float = setting(
        default=0.0, help="Strength of colour jitter; 0 is off.", low=0, card="colours jittered by {:g}"
    )
    augment_text: dict[str, float] = setting(
        default_factory=dict,
        help="Chances of a word's deletion and of a token's mask: deletion=0.05,mask=0.1 or JSON.",
    )

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
        """Raise a ValueError naming the first setting that contradicts another or cannot be."""
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
            raise ValueError("resume is auto and overwrite_output_dir is set; go on with the run or replace it")
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
        """Raise a ValueError where stages, prompts and adapter contradict each other."""
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

    def objective_options(self) -> dict[str, dict[str, float]]:
        """Keyword options of each objective."""
        return {
            "sdm": {"temperature": self.sdm_temperature, "same_person_weight": self.sdm_same_person_weight},
            "itc": {
                "temperature": self.itc_temperature,
                "label_smoothing": self.label_smoothing,
                "same_image_weight": self.itc_same_image_weight,
                "same_person_weight": self.itc_same_person_weight,
            },
            "tal": {"temperature": self.tal_temperature, "margin": self.tal_margin},
            "id": {"label_smoothing": self.label_smoothing},
            "citc": {
                "in_modal_weight": self.citc_in_modal_weight,
                "cross_modal_weight": self.citc_cross_modal_weight,
            },
            "mlm": {"layers": self.mlm_layers},
        }


__all__ = ["StageSettings", "TwoStageTrainingArguments"]
