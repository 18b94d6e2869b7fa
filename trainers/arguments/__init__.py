"""Settings of a run: fields, ranges, the command line, and what they mean on this machine."""

from trainers.arguments.settings import TwoStageTrainingArguments

__all__ = ["TwoStageTrainingArguments"]
