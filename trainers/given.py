"""Names for a model and data that a caller gave to the trainer, so that no card takes them for the default ones."""

from collections.abc import Mapping
from dataclasses import replace

import datasets

from modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.loading import STAND_IN
from trainers.arguments import TwoStageTrainingArguments

GIVEN = "given in Python"
SYNTHETIC = "synthetic_pedes"


def name_what_was_given(
    args: TwoStageTrainingArguments,
    model: PromptCLIPModel | None,
    splits: Mapping[str, datasets.Dataset | datasets.IterableDataset] | None,
) -> TwoStageTrainingArguments:
    """Settings that name what a run really starts from; what the caller has named stays.

    Args:
        args: the settings, whose `base_model` and `dataset` may be defaults that were never read.
        model: the model that was given.
        splits: the splits that were given.
    """
    names = {}
    if model is not None and args.base_model == STAND_IN:
        names["base_model"] = str(model.name_or_path) or GIVEN
    if splits is not None and args.dataset == SYNTHETIC:
        given = splits.get("train")
        if given is None or given.info.builder_name != SYNTHETIC:
            names["dataset"] = GIVEN
    return replace(args, **names) if names else args


__all__ = ["name_what_was_given"]
