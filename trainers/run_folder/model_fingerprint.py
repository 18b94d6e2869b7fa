"""Fingerprint of the model that a run starts from."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import torch

from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor

IMAGE_SETTINGS = ("image_mean", "image_std", "rescale_factor", "resample", "do_normalize", "do_rescale", "do_resize")
RESAMPLED = "vision_model.embeddings.position_embedding.weight"  # to the image size: by machine, another last bit

logger = logging.getLogger(__name__)


def model_fingerprint(model: PromptCLIPModel, processor: PromptCLIPProcessor) -> dict[str, str]:
    """Hash the weights, the vocabulary and the image settings.

    Args:
        model: before the first step, with any adapter merged, in CPU memory.
        processor: of the model.
    """
    weights = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if name != RESAMPLED:
            value = value.detach().cpu().contiguous()
            weights.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            weights.update(value.flatten().view(dtype=torch.uint8).numpy())
    images = {name: getattr(processor.image_processor, name, None) for name in IMAGE_SETTINGS}
    return {
        "weights": weights.hexdigest(),
        "vocabulary": _json_hash(sorted(processor.tokenizer.get_vocab().items())),
        "image settings": _json_hash(images),
    }


def check_same_model(before: object, now: Mapping[str, str], place: Path) -> None:
    """Compare the model that a run started from with this one.

    Args:
        before: None if an earlier version kept none, which only warns.
        now: from [`model_fingerprint`].
        place: source of `before`, for the message.

    Raises ValueError: the models differ; the message says in what.
    """
    if before is None:
        logger.warning(
            "%s has no fingerprint of the base model, as of an earlier version: whether it is the same is unknown",
            place,
        )
        return
    if not isinstance(before, Mapping):
        raise ValueError(
            f"{place}: its fingerprint of the base model is damaged; start the run again with overwrite_output_dir"
        )
    if different := [name for name in now if before.get(name) != now[name]]:
        raise ValueError(
            f"the run cannot resume from another base model or adapter than {place} was made with; different: "
            f"{', '.join(different)}. Put base_model and adapter back, or start the run again in another output_dir"
        )


def _json_hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()


__all__ = ["check_same_model", "model_fingerprint"]
