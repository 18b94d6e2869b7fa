"""The settings of a run: fields, rules, parsing."""

from trainers.arguments.settings import TwoStageTrainingArguments

__all__ = ["TwoStageTrainingArguments"]
