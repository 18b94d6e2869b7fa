"""Push a model with its processor, code and a card to the Hub."""

import logging
import os
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from peft.tuners.tuners_utils import BaseTunerLayer

from dataset_scripts.common.files import scratch_folder
from dataset_scripts.common.hub import open_repository, upload_folder
from modeling_prompt_clip.hub.card_there import CARD, card_there, has_figures
from modeling_prompt_clip.hub.model_card import card_of_model
from modeling_prompt_clip.hub.remote_code import complete_upload
from modeling_prompt_clip.loading import processor_path
from modeling_prompt_clip.modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.processing_prompt_clip import PromptCLIPProcessor

__all__ = ["push_model"]

REPLACED = ["*.safetensors", "adapter_config.json"]  # what an earlier push may have left, and would be loaded
RECORDS = ["results.json", "config.yaml", "plots/*"]  # of the run that other weights were from

logger = logging.getLogger(__name__)


def push_model(
    model: PromptCLIPModel,
    repo_id: str,
    *,
    processor: PromptCLIPProcessor | None = None,
    private: bool | None = True,
    license: str | None = None,
    tags: list[str] | None = None,
    commit_message: str | None = None,
    commit_description: str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    token: bool | str | None = None,
    saved_in: str | os.PathLike | None = None,
    **save_options: Any,
) -> str:
    """Push a model to the Hub, loadable there by `AutoModel.from_pretrained(repo_id, trust_remote_code=True)`.

    An existing card is kept, unless it reports a run's figures, which are not this model's. A run with its figures is
    published by `prompt-clip push`.

    Args:
        model: with merged prompts.
        repo_id: `USER/NAME`; created if missing.
        processor: by default the one beside the weights that the model was loaded from.
        private: only False makes a new repository public, or fills a public one: a model of this kind finds people.
        license: identifier on the Hub; by default "other".
        tags: for a new card, added to its own.
        commit_message, commit_description, create_pr, token: as for `HfApi.upload_folder`.
        revision: an existing branch; by default the main one.
        saved_in: folder that the model has just been saved to; its processor is used, and a missing one only warned
            of.
        **save_options: for the model's `save_pretrained`, such as `max_shard_size`.

    Returns:
        URL of the commit or pull request.

    Raises:
        ValueError: an unmerged adapter, no processor, or a public repository without `private=False`.
        OSError: the Hub refuses, fails or cannot be reached; the same call can be repeated.
    """
    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise ValueError(
            "the model holds an adapter that is not merged; push what merge_and_unload() returns, or the adapter "
            "alone by the PEFT model's own push_to_hub"
        )
    processor = processor or _known_processor(model, saved_in)
    repo_id = open_repository(repo_id, "model", private=private is not False, token=token, write=not create_pr).repo_id
    there = card_there(repo_id, revision, token)
    of_a_run = has_figures(there)
    with scratch_folder("prompt_clip_push") as folder:
        model.save_pretrained(folder, **save_options)
        if processor is not None:
            processor.save_pretrained(folder)
        complete_upload(folder)
        if of_a_run:
            logger.warning("%s has the card and the figures of other weights, which go", repo_id)
        if there is None or of_a_run:
            card = ModelCard(card_of_model(model, repo_id, license))
            card.data.tags = [*card.data.tags, *(tags or ())]
            Path(folder, CARD).write_text(str(card), encoding="utf-8")
        commit = upload_folder(
            folder,
            repo_id,
            "model",
            message=commit_message or "Upload model",
            replaced=REPLACED + RECORDS if of_a_run else REPLACED,
            description=commit_description,
            revision=revision,
            create_pr=create_pr,
            token=token,
        )
    return commit.pr_url or commit.commit_url


def _known_processor(model: PromptCLIPModel, saved_in: str | os.PathLike | None) -> PromptCLIPProcessor | None:
    if saved_in is None:
        return _own_processor(model)
    if Path(saved_in, "processor_config.json").is_file():
        return PromptCLIPProcessor.from_pretrained(saved_in)
    try:
        return _own_processor(model)
    except ValueError as error:
        logger.warning("the model is uploaded without its processor: %s", error)
        return None


def _own_processor(model: PromptCLIPModel) -> PromptCLIPProcessor:
    remedy = "pass processor=PromptCLIPProcessor.from_pretrained(...)"
    if not model.name_or_path:
        raise ValueError(f"the model was not loaded from anywhere, so its processor is not known; {remedy}")
    try:
        source = processor_path(model.name_or_path)
        return PromptCLIPProcessor.from_clip(source, image_size=model.config.vision_config.image_height_width)
    except (OSError, ValueError) as error:
        raise ValueError(f"no processor could be read from {str(model.name_or_path)!r} ({error}); {remedy}") from error
