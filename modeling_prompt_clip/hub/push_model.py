"""Push a model with processor, code and card, or a part."""

import logging
import os
from functools import partial
from pathlib import Path
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer

from modeling_prompt_clip.hub.model_card import card_of_model
from modeling_prompt_clip.hub.push_saved import push_saved, split_options
from modeling_prompt_clip.loading import processor_path
from modeling_prompt_clip.modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.private_uploads import PrivateUploads
from modeling_prompt_clip.processing_prompt_clip import PromptCLIPProcessor

__all__ = ["push_model", "push_part"]

REPLACED = ["*.safetensors", "adapter_config.json"]  # what an earlier push may have left, and would be loaded

logger = logging.getLogger(__name__)


def push_model(
    model: PromptCLIPModel,
    repo_id: str,
    *,
    processor: PromptCLIPProcessor | None = None,
    license: str | None = None,
    tags: list[str] | None = None,
    saved_in: str | os.PathLike | None = None,
    **options: Any,
) -> str:
    """Push a model; `AutoModel.from_pretrained(repo_id, trust_remote_code=True)` loads it.

    An existing card is kept unless it reports a run's figures; `prompt-clip push` publishes runs with theirs.

    Args:
        model: with merged prompts.
        repo_id: `USER/NAME`; created if missing.
        processor: by default the one beside the weights that the model was loaded from.
        license: identifier on the Hub; by default "other".
        tags: for a new card, added to its own.
        saved_in: folder that the model was just saved to; its processor is used, and only warned of if missing.
        **options: fields of [`Push`]; others for the model's `save_pretrained`, such as `max_shard_size`.

    Returns: URL of the commit or pull request.

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
    push, save_options = split_options(options)

    def save(folder: Path) -> None:
        model.save_pretrained(folder, **save_options)
        if processor is not None:
            processor.save_pretrained(folder)

    card = partial(card_of_model, model, license=license)
    return push_saved(save, repo_id, push, message="Upload model", new_card=card, tags=tags or (), replaced=REPLACED)


def push_part(
    saved: PrivateUploads,
    repo_id: str,
    *,
    tags: list[str] | None = None,
    saved_in: str | os.PathLike | None = None,
    **options: Any,
) -> str:
    """Push a processor, configuration or tower with its code but no card.

    `tags` and `saved_in` are not used; otherwise see [`push_model`].
    """
    push, save_options = split_options(options)
    return push_saved(
        lambda folder: saved.save_pretrained(folder, **save_options),
        repo_id,
        push,
        message=f"Upload {type(saved).__name__}",
    )


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
