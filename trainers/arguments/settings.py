"""Every setting of a two-stage run, checked before anything is loaded."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from dataset_scripts.annotations.splitting import SPLIT_RULES
from dataset_scripts.common.hub import check_repo_id
from trainers.arguments.checks import check_ranges
from trainers.arguments.parsing import parse_json_dict, parse_numbers, parse_objectives
from trainers.objectives.combined import first_temperatures
from trainers.transforms.captions import TEXT_AUGMENTATIONS

CHOICES = MappingProxyType(
    {
        "mixed_precision": ("no", "bf16", "fp16"),
        "optimizer": ("adamw", "adam"),
        "prompt_init": ("normal", "activations"),
        "on_bad_image": ("error", "skip"),
        "split_rule": SPLIT_RULES,
        "on_leak": ("error", "drop", "allow"),
        "resume": ("no", "auto"),
        "sampling": ("shuffle", "identity", "length"),
        "hub_strategy": ("end", "best", "every_save"),
    }
)


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
    base_model: str = field(
        default="stand-in",
        metadata={"help": "CLIP to start from: a folder, a Hub id, or 'stand-in', the small one that ships with us."},
    )
    image_size: list[int] = field(
        default_factory=lambda: [384, 128],
        metadata={"help": "Height and width in pixels, multiples of the patch size."},
    )
    text_prompt_length: int = field(default=4, metadata={"help": "Prompts in each prompted layer of the text tower."})
    vision_prompt_length: int = field(
        default=4, metadata={"help": "Prompts in each prompted layer of the vision tower."}
    )
    prompt_layers: list[int] | None = field(
        default=None, metadata={"help": "Layers that get prompts, such as 0 1 2; all of them when left out."}
    )
    prompt_init: str = field(
        default="normal", metadata={"help": "How prompts start: 'normal', or 'activations' of the frozen towers."}
    )
    prompt_init_phrase: str = field(
        default="a photo of a person", metadata={"help": "The phrase that 'activations' starts text prompts from."}
    )
    coupled_prompts: bool = field(
        default=False, metadata={"help": "Vision prompts are a learned projection of the text prompts, as in MaPLe."}
    )
    stages: list[str] = field(
        default_factory=lambda: ["one", "two"], metadata={"help": "Stages to run: 'one two', 'one', or 'two'."}
    )
    direct: bool = field(
        default=False,
        metadata={"help": "Direct fine-tuning, the baseline: stage two alone, from the base model, without prompts."},
    )
    adapter: str | None = field(
        default=None, metadata={"help": "With --stages two: the stage-one adapter folder to merge before stage two."}
    )
    attn_implementation: str | None = field(
        default=None, metadata={"help": "'sdpa', 'eager' or 'flash_attention_2'; transformers' choice when left out."}
    )

    # data
    dataset: str = field(
        default="synthetic_pedes",
        metadata={"help": "The data set: a name (with data_dir), a folder, or USER/NAME on the Hub."},
    )
    data_dir: str | None = field(default=None, metadata={"help": "The data set's folder (not for synthetic_pedes)."})
    dataset_options: dict[str, Any] = field(
        default_factory=dict, metadata={"help": "Further options of the data set, as JSON: '{\"seed\": 1}'."}
    )
    clean_captions: bool = field(
        default=True, metadata={"help": "Put spaces and punctuation of captions right (sets in folders)."}
    )
    split_rule: str = field(
        default="names",
        metadata={"help": "How splits are drawn that a set in a folder lacks: by 'names', or 'numbers' as once."},
    )
    on_bad_image: str = field(
        default="error", metadata={"help": "'error', or 'skip' to list bad images and train on the rest (folders)."}
    )
    also_train_on: list[str] = field(
        default_factory=list,
        metadata={"help": "Sets whose train splits are added: NAME=FOLDER, a folder, or USER/NAME on the Hub."},
    )
    on_leak: str = field(
        default="error",
        metadata={"help": "Test images in the joined training set: 'error', 'drop' those persons, or 'allow'."},
    )
    streaming: bool = field(
        default=False, metadata={"help": "Read the train split as it is needed (Parquet and the Hub)."}
    )
    shuffle_buffer: int = field(
        default=10_000, metadata={"help": "With streaming: caption-image pairs that are held and shuffled."}
    )
    sampling: str = field(
        default="shuffle",
        metadata={
            "help": "What a batch holds: any pairs ('shuffle'), several of each of some persons ('identity'), or "
            "captions of about one 'length', which are faster."
        },
    )
    num_instances: int = field(default=4, metadata={"help": "With --sampling identity: pairs of a person in a batch."})
    num_workers: int = field(default=2, metadata={"help": "Processes that prepare images, beside each training one."})

    # the run
    output_dir: str = field(default="runs/two_stage", metadata={"help": "The run folder; it must not hold a run yet."})
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Replace the run in output_dir."})
    resume: str = field(
        default="no", metadata={"help": "'auto' goes on with the run in output_dir, if there is one; 'no' refuses it."}
    )
    save_steps: int = field(
        default=0, metadata={"help": "Save what a killed run goes on from every so many steps; 0: when evaluating."}
    )
    save_total_limit: int = field(default=2, metadata={"help": "Checkpoints to keep; the best weights stay apart."})
    seed: int = field(default=0, metadata={"help": "Everything random hangs on it."})
    log_steps: int = field(default=10, metadata={"help": "Log losses every so many optimizer steps."})
    eval_steps: int = field(
        default=0, metadata={"help": "Evaluate on validation every so many steps; 0 does once an epoch."}
    )
    eval_batch_size: int = field(default=128, metadata={"help": "Images or captions encoded at once in evaluation."})
    report_to: str = field(default="tensorboard", metadata={"help": "Tracker by accelerate's name, or 'none'."})

    # the Hub
    push_to_hub: bool = field(default=False, metadata={"help": "Upload the run to the Hub; needs hub_model_id."})
    hub_model_id: str | None = field(
        default=None, metadata={"help": "The repository, USER/NAME; made where there is none."}
    )
    hub_strategy: str = field(
        default="end",
        metadata={
            "help": "When: at the 'end', or also whenever validation finds better weights ('best') or a checkpoint is "
            "saved ('every_save')."
        },
    )
    hub_private_repo: bool = field(
        default=True, metadata={"help": "Whether a new repository is private; a public one is not filled then."}
    )

    # optimisation, both stages
    batch_size: int = field(default=64, metadata={"help": "Caption-image pairs of one process in one step."})
    gradient_accumulation_steps: int = field(
        default=1, metadata={"help": "Batches a step; losses compare only the pairs of one batch."}
    )
    micro_batch_size: int = field(
        default=0,
        metadata={
            "help": "Pairs that are in memory at once; losses still compare the whole batch. 0 is the whole batch."
        },
    )
    gradient_checkpointing: bool = field(
        default=False, metadata={"help": "Compute activations anew in the backward pass: less memory, more time."}
    )
    compile: bool = field(default=False, metadata={"help": "Compile the towers' layers with torch.compile."})
    mixed_precision: str = field(default="no", metadata={"help": "'no', 'bf16' or 'fp16', by accelerate."})
    optimizer: str = field(default="adamw", metadata={"help": "'adamw' or 'adam'."})
    adam_beta1: float = field(default=0.9, metadata={"help": "In [0, 1)."})
    adam_beta2: float = field(default=0.999, metadata={"help": "In [0, 1)."})
    adam_epsilon: float = field(default=1e-8, metadata={"help": "Above 0."})
    bias_lr_multiplier: float = field(default=1.0, metadata={"help": "Learning rate of biases over the others'."})
    head_lr_multiplier: float = field(default=5.0, metadata={"help": "Learning rate of loss heads over the others'."})
    max_grad_norm: float = field(default=1.0, metadata={"help": "Clip the gradient's norm to this; 0 does not clip."})
    layer_lr_decay: float = field(
        default=1.0,
        metadata={"help": "Stage two: learning rate of a layer over that of the layer above it; 1 is off."},
    )
    ema_decay: float = field(
        default=0.0,
        metadata={"help": "Evaluate and keep a moving average of the weights, such as 0.999; 0 is off."},
    )
    max_bad_steps: int = field(
        default=5, metadata={"help": "Steps in a row with a loss or gradient that is not finite that stop the run."}
    )
    warmup_start: float = field(
        default=0.1, metadata={"help": "Learning rate at step 0 over the full one, in [0, 1]."}
    )

    # stage one: domain adaptation, prompts only
    stage_one_epochs: float = field(default=10.0, metadata={"help": "Passes over the captions in stage one."})
    stage_one_max_steps: int = field(
        default=-1, metadata={"help": "Steps of stage one, instead of epochs; -1 is off."}
    )
    stage_one_learning_rate: float = field(default=3e-3, metadata={"help": "Peak learning rate of the prompts."})
    stage_one_weight_decay: float = field(default=0.0, metadata={"help": "Weight decay of prompts and loss heads."})
    stage_one_warmup_ratio: float = field(default=0.1, metadata={"help": "Share of stage one that warms up."})
    stage_one_objectives: dict[str, float] = field(
        default_factory=lambda: {"sdm": 1.0}, metadata={"help": "Losses and weights: sdm=1,id=0.5 or JSON."}
    )

    # stage two: task adaptation, CLIP itself
    stage_two_epochs: float = field(default=60.0, metadata={"help": "Passes over the captions in stage two."})
    stage_two_max_steps: int = field(
        default=-1, metadata={"help": "Steps of stage two, instead of epochs; -1 is off."}
    )
    stage_two_learning_rate: float = field(default=1e-5, metadata={"help": "Peak learning rate of CLIP's weights."})
    stage_two_weight_decay: float = field(default=0.01, metadata={"help": "Weight decay of CLIP's matrices."})
    stage_two_warmup_ratio: float = field(default=0.1, metadata={"help": "Share of stage two that warms up."})
    stage_two_objectives: dict[str, float] = field(
        default_factory=lambda: {"sdm": 1.0}, metadata={"help": "Losses and weights: sdm=1,id=0.5 or JSON."}
    )

    stage_two_lora_rank: int = field(
        default=0, metadata={"help": "Train low-rank updates of CLIP's matrices, of this rank; 0 trains CLIP itself."}
    )
    stage_two_lora_alpha: float = field(default=16.0, metadata={"help": "Scale of these updates: alpha / rank."})

    # losses
    sdm_temperature: float = field(default=0.02, metadata={"help": "Temperature of sdm, above 0."})
    itc_temperature: float = field(default=0.07, metadata={"help": "Temperature of itc, above 0."})
    tal_temperature: float = field(default=0.015, metadata={"help": "Temperature of tal, above 0."})
    tal_margin: float = field(default=0.1, metadata={"help": "Margin of tal, 0 or more."})
    sdm_same_person_weight: float = field(
        default=1.0, metadata={"help": "Target of sdm for another image of the person; for the same image it is 1."}
    )
    itc_same_image_weight: float = field(
        default=0.0, metadata={"help": "Target of itc for another caption of the image; for its own it is 1."}
    )
    itc_same_person_weight: float = field(
        default=0.0, metadata={"help": "Target of itc for another image of the person; 1 and 1 are TBPS-CLIP's."}
    )
    citc_in_modal_weight: float = field(default=0.25, metadata={"help": "Weight of citc's term within a tower."})
    citc_cross_modal_weight: float = field(default=0.25, metadata={"help": "Weight of citc's term across towers."})
    mlm_layers: int = field(default=4, metadata={"help": "Transformer layers of mlm's head, 0 or more."})
    mlm_probability: float = field(default=0.15, metadata={"help": "Probability of a word to be masked for mlm."})
    learn_temperature: bool = field(
        default=False, metadata={"help": "Learn the temperatures of sdm, itc and tal, starting from those given."}
    )
    label_smoothing: float = field(default=0.0, metadata={"help": "Of itc and id, in [0, 1)."})

    # augmentation of training images and captions
    augment_flip: float = field(default=0.5, metadata={"help": "Probability of a mirrored image."})
    augment_pad: int = field(default=10, metadata={"help": "Padding before the random crop, in pixels of 384x128."})
    augment_erase: float = field(default=0.5, metadata={"help": "Probability of an erased rectangle."})
    augment_color_jitter: float = field(default=0.0, metadata={"help": "Strength of colour jitter; 0 is off."})
    augment_text: dict[str, float] = field(
        default_factory=dict,
        metadata={"help": "Chances of a word's deletion and of a token's mask: deletion=0.05,mask=0.1 or JSON."},
    )

    def __post_init__(self) -> None:
        self.stage_one_objectives = parse_objectives("stage_one_objectives", self.stage_one_objectives)
        self.stage_two_objectives = parse_objectives("stage_two_objectives", self.stage_two_objectives)
        self.augment_text = parse_numbers("augment_text", self.augment_text, TEXT_AUGMENTATIONS, most=1)
        self.dataset_options = parse_json_dict("dataset_options", self.dataset_options)
        check_ranges(self)
        self._check_choices()

    def _check_choices(self) -> None:
        """Raise a ValueError naming the first setting that is no known choice or contradicts another."""
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(choices)}")
        if len(self.image_size) != 2 or any(not isinstance(side, int) or side < 1 for side in self.image_size):
            raise ValueError(f"image_size is {self.image_size}; give height and width in pixels, such as 384 128")
        if tuple(self.stages) not in (("one", "two"), ("one",), ("two",)):
            raise ValueError(f"stages is {self.stages}; give 'one two', 'one' or 'two'")
        if self.resume == "auto" and self.overwrite_output_dir:
            raise ValueError("resume is auto and overwrite_output_dir is set; go on with the run or replace it")
        if self.push_to_hub and not self.hub_model_id:
            raise ValueError("push_to_hub is set, but hub_model_id is not; name the repository, USER/NAME")
        if self.hub_model_id is not None:
            check_repo_id(self.hub_model_id, "hub_model_id")
        if not isinstance(self.also_train_on, list):
            raise ValueError(f"also_train_on is {self.also_train_on!r}; it must be a list, such as [icfg_pedes=DIR]")
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
