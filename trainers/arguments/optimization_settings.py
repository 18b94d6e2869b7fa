"""Settings of the optimizer, for both stages and each."""

from dataclasses import dataclass
from typing import ClassVar

from trainers.arguments.fields import Alias, setting

__all__ = ["OptimizationSettings"]


@dataclass
class OptimizationSettings:
    """Part of [`TwoStageTrainingArguments`]: optimization."""

    _argument_group_name: ClassVar = "optimization"

    batch_size: int = setting(
        default=64,
        help="Caption-image pairs of one process in one step.",
        low=2,
        high=65_536,
        aliases=(Alias("per_device_train_batch_size"),),
    )
    gradient_accumulation_steps: int = setting(
        default=1, help="Batches a step; losses compare only the pairs of one batch.", low=1, high=65_536
    )
    micro_batch_size: int = setting(
        default=0,
        help="Pairs in memory at once; losses still compare the whole batch. 0: the whole batch.",
        low=0,
        high=65_536,
    )
    gradient_checkpointing: bool = setting(
        default=False, help="Recompute activations in the backward pass: less memory, more time."
    )
    compile: bool = setting(
        default=False, help="Compile the towers' layers with torch.compile.", aliases=(Alias("torch_compile"),)
    )
    mixed_precision: str = setting(
        default="no",
        help="'no', 'bf16' or 'fp16', by accelerate.",
        choices=("no", "bf16", "fp16"),
        aliases=(
            Alias("bf16", {True: "bf16", False: "no"}),
            Alias("fp16", {True: "fp16", False: "no"}),
        ),
    )
    optimizer: str = setting(
        default="adamw",
        help="'adamw' or 'adam'.",
        choices=("adamw", "adam"),
        aliases=(Alias("optim", {"adamw_torch": "adamw"}),),
    )
    adam_beta1: float = setting(default=0.9, help="Beta 1 of Adam, in [0, 1).", low=0, below=1)
    adam_beta2: float = setting(default=0.999, help="Beta 2 of Adam, in [0, 1).", low=0, below=1)
    adam_epsilon: float = setting(default=1e-8, help="Epsilon of Adam, above 0.", above=0, high=1)
    bias_lr_multiplier: float = setting(
        default=1.0,
        help="Learning rate of biases relative to the others'.",
        above=0,
        high=1000,
        card="Biases learn at {:g} times the rate.",
    )
    head_lr_multiplier: float = setting(
        default=5.0,
        help="Learning rate of loss heads relative to the others'.",
        above=0,
        high=1000,
        card="Loss heads learn at {:g} times the rate.",
        losses=("id", "mlm"),
    )
    max_grad_norm: float = setting(
        default=1.0, help="Clip the gradient's norm to this; 0 does not clip.", low=0, high=1e9
    )
    layer_lr_decay: float = setting(
        default=1.0,
        help="Stage two: learning rate of a layer relative to the layer above; 1 is off.",
        above=0,
        high=1,
        card="In stage two, each layer learns at {:g} of the rate of the one above it.",
        experimental=True,
    )
    ema_decay: float = setting(
        default=0.0,
        help="Evaluate and keep a moving average of the weights, such as 0.999; 0 is off.",
        low=0,
        below=1,
        card="Kept and tested: a moving average of the weights, decay {:g}.",
        experimental=True,
    )
    max_bad_steps: int = setting(
        default=5,
        help="Stop the run after so many steps in a row with a loss or gradient that is not finite.",
        low=1,
        high=1_000_000,
    )
    warmup_start: float = setting(
        default=0.1, help="Learning rate at step 0 relative to the full one, in [0, 1].", low=0, high=1
    )

    # stage one: domain adaptation, prompts only
    stage_one_epochs: float = setting(
        default=10.0,
        help="Passes over the captions in stage one.",
        above=0,
        high=100_000,
        aliases=(Alias("num_train_epochs"),),
    )
    stage_one_max_steps: int = setting(
        default=-1,
        help="Steps of stage one, instead of epochs; -1 is off.",
        low=-1,
        high=1_000_000,
        aliases=(Alias("max_steps"),),
    )
    stage_one_learning_rate: float = setting(
        default=3e-3, help="Peak learning rate of the prompts.", above=0, high=100, aliases=(Alias("learning_rate"),)
    )
    stage_one_weight_decay: float = setting(
        default=0.0, help="Weight decay of prompts and loss heads.", low=0, high=100, aliases=(Alias("weight_decay"),)
    )
    stage_one_warmup_ratio: float = setting(
        default=0.1, help="Share of stage one that warms up.", low=0, high=1, aliases=(Alias("warmup_ratio"),)
    )
    stage_one_objectives: dict[str, float] = setting(
        default_factory=lambda: {"sdm": 1.0},
        help="Losses and weights: sdm=1,id=0.5 or JSON; MODULE:FUNCTION is a loss of your own.",
    )

    # stage two: task adaptation, CLIP itself
    stage_two_epochs: float = setting(
        default=60.0,
        help="Passes over the captions in stage two.",
        above=0,
        high=100_000,
        aliases=(Alias("num_train_epochs"),),
    )
    stage_two_max_steps: int = setting(
        default=-1,
        help="Steps of stage two, instead of epochs; -1 is off.",
        low=-1,
        high=1_000_000,
        aliases=(Alias("max_steps"),),
    )
    stage_two_learning_rate: float = setting(
        default=1e-5,
        help="Peak learning rate of CLIP's weights.",
        above=0,
        high=100,
        aliases=(Alias("learning_rate"),),
    )
    stage_two_weight_decay: float = setting(
        default=0.01, help="Weight decay of CLIP's matrices.", low=0, high=100, aliases=(Alias("weight_decay"),)
    )
    stage_two_warmup_ratio: float = setting(
        default=0.1, help="Share of stage two that warms up.", low=0, high=1, aliases=(Alias("warmup_ratio"),)
    )
    stage_two_objectives: dict[str, float] = setting(
        default_factory=lambda: {"sdm": 1.0},
        help="Losses and weights: sdm=1,id=0.5 or JSON; MODULE:FUNCTION is one of your own.",
    )

    stage_two_lora_rank: int = setting(
        default=0,
        help="Train low-rank updates of CLIP's matrices, of this rank; 0 trains CLIP itself.",
        low=0,
        high=4096,
        experimental=True,
    )
    stage_two_lora_alpha: float = setting(
        default=16.0,
        help="Scale of these updates: alpha / rank.",
        above=0,
        high=65_536,
        needs=("stage_two_lora_rank", None),
    )
