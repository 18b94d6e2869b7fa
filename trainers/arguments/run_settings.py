"""Settings of the run: its folder, logs, checkpoints, uploads."""

from dataclasses import dataclass
from typing import ClassVar

from trainers.arguments.fields import Alias, setting

__all__ = ["RunSettings"]


@dataclass
class RunSettings:
    """Part of [`TwoStageTrainingArguments`]: the run and its repository on the Hub."""

    _argument_group_name: ClassVar = "run and Hub"

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
        help="'auto' resumes the run in output_dir, if there is one; 'no' refuses it.",
        choices=("no", "auto"),
        resumable=True,
        published=False,
        aliases=(Alias("resume_from_checkpoint", {True: "auto", False: "no"}),),
    )
    save_steps: int = setting(
        default=0,
        help="Save a checkpoint to resume from every so many steps; 0: when evaluating.",
        low=0,
        high=1_000_000_000,
        resumable=True,
    )
    save_total_limit: int = setting(
        default=2, help="Checkpoints to keep; the best weights stay apart.", low=1, high=10_000, resumable=True
    )
    seed: int = setting(default=0, help="Random seed of the whole run.", low=0, high=2**32 - 1)
    log_steps: int = setting(
        default=10,
        help="Log losses every so many optimizer steps.",
        low=1,
        high=1_000_000_000,
        resumable=True,
        aliases=(Alias("logging_steps"),),
    )
    eval_steps: int = setting(
        default=0, help="Evaluate on validation every so many steps; 0: once an epoch.", low=0, high=1_000_000_000
    )
    no_test: bool = setting(
        default=False,
        help="Leave the test split alone at the end, as a sweep must; prompt-clip evaluate RUN --split test tests.",
        resumable=True,
    )
    eval_batch_size: int = setting(
        default=128,
        help="Images or captions encoded at once in evaluation.",
        low=1,
        high=65_536,
        resumable=True,
        aliases=(Alias("per_device_eval_batch_size"),),
    )
    report_to: str = setting(
        default="tensorboard",
        help="Trackers by accelerate's names, such as tensorboard,wandb; 'all' that are installed, or 'none'.",
        resumable=True,
    )

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
        needs=("push_to_hub", True),
        resumable=True,
        published=False,
    )
    hub_private_repo: bool = setting(
        default=True,
        help="Make a new repository private, and refuse a public one.",
        resumable=True,
        published=False,
    )
