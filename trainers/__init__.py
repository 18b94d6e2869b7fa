"""Two-stage training of PromptCLIP on Accelerate."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.arguments.settings import TwoStageTrainingArguments
    from trainers.two_stage import TwoStageTrainer

__all__ = ["TwoStageTrainer", "TwoStageTrainingArguments"]


def __getattr__(name: str) -> Any:
    """Import on first use: `python -m trainers.two_stage` must not find its own module imported already."""
    if name == "TwoStageTrainer":
        from trainers.two_stage import TwoStageTrainer

        return TwoStageTrainer
    if name == "TwoStageTrainingArguments":
        from trainers.arguments.settings import TwoStageTrainingArguments

        return TwoStageTrainingArguments
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
