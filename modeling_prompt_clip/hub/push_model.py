"""`model.push_to_hub(...)`: a model with its processor, its code and a card, without a run folder."""

import logging
import os
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCard
from peft.tuners.tuners_utils import BaseTunerLayer

from dataset_scripts.common.files import scratch_folder
from modeling_prompt_clip.hub.card_there import CARD, card_there, has_figures
from modeling_prompt_clip.hub.model_card import card_of_model
from modeling_prompt_clip.hub.remote_code import complete_upload
from modeling_prompt_clip.loading import processor_path
from modeling_prompt_clip.modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.private_uploads import open_private_repository
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
    """Upload a model so that `AutoModel.from_pretrained(repo_id, trust_remote_code=True)` loads it anywhere.

    A card that the repository has stays, unless it has the figures of a run, which are not those of this model. A new
    one says what the model itself tells. A run with its figures is published by `prompt-clip push`.

    Args:
        model: its prompts must be merged.
        repo_id: `USER/NAME`; made where it does not exist.
        processor: of the model; by default the one beside the weights that it was loaded from.
        private: False makes a new repository public, or fills a public one, and nothing else does: a model of this
            kind finds people.
        license: identifier on the Hub; by default "other".
        tags: of a new card, beside its own.
        commit_message: of the commit; by default "Upload model".
        commit_description: of the commit.
        revision: branch that there is; by default the main one.
        create_pr: propose the commit instead of making it.
        token: of the Hub; by default that of `hf auth login` or `HF_TOKEN`.
        saved_in: folder that the model was saved into just before, where its processor may lie too; then a processor
            that nobody knows is a warning, and no error.
        **save_options: as for the model's `save_pretrained`, such as `max_shard_size`.

    Returns:
        The address of the commit, or of the proposal.

    Raises:
        ValueError: the model holds an adapter that is not merged; no processor is given and none can be found; the
            repository is public and should be private.
        OSError: the repository's card cannot be read.
        huggingface_hub.errors.HfHubHTTPError: the Hub refuses or fails; the same call again goes on.
    """
    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise ValueError(
            "the model holds an adapter that is not merged; push what merge_and_unload() returns, or the adapter "
            "alone by the PEFT model's own push_to_hub"
        )
    processor = processor or _known_processor(model, saved_in)
    api = HfApi(token=token)
    repo_id = open_private_repository(api, repo_id, private)
    there = card_there(api, repo_id, revision)
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
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            delete_patterns=REPLACED + RECORDS if of_a_run else REPLACED,
            commit_message=commit_message or "Upload model",
            commit_description=commit_description,
            revision=revision,
            create_pr=create_pr,
        )
    return commit.pr_url or commit.commit_url


def _known_processor(model: PromptCLIPModel, saved_in: str | os.PathLike | None) -> PromptCLIPProcessor | None:
    """The processor in the folder that a model was saved into, or beside the weights that it was loaded from.

    Raises:
        ValueError: there is none, and the model was not saved just before.
    """
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
    """The processor beside the weights that a model was loaded from.

    Raises:
        ValueError: there is none.
    """
    remedy = "pass processor=PromptCLIPProcessor.from_pretrained(...)"
    if not model.name_or_path:
        raise ValueError(f"the model was not loaded from anywhere, so its processor is not known; {remedy}")
    try:
        source = processor_path(model.name_or_path)
        return PromptCLIPProcessor.from_clip(source, image_size=model.config.vision_config.image_height_width)
    except (OSError, ValueError) as error:
        raise ValueError(f"no processor could be read from {str(model.name_or_path)!r} ({error}); {remedy}") from error
