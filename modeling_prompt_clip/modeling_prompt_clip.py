"""PromptCLIP: CLIP with fixed deep prompts in both towers and rectangular images."""

import copy
import importlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForZeroShotImageClassification, CLIPModel
from transformers.models.clip.modeling_clip import CLIPOutput, CLIPPreTrainedModel, image_text_contrastive_loss
from transformers.utils.generic import can_return_tuple

if not __package__:
    # The working folder is a clone of a published model, where this file hides the package of its name: give way to
    # the package, or be one where it is not installed.
    _clone, _path, _hiding = Path(__file__).resolve().parent, sys.path[:], sys.modules.pop(__name__)
    sys.path[:] = [entry for entry in _path if Path(entry).resolve() != _clone]
    try:
        importlib.import_module(__name__)
    except ModuleNotFoundError as error:
        if error.name != __name__:
            raise
        sys.modules[__name__] = _hiding
        __path__ = [str(_clone)]
    finally:
        sys.path[:] = _path
    __package__ = __name__
    __spec__.submodule_search_locations = sys.modules[__name__].__path__

from .configuration_prompt_clip import (
    TOWERS,
    PromptCLIPConfig,
    PromptCLIPTextConfig,
    PromptCLIPVisionConfig,
    as_image_size,
    prompt_settings,
)
from .folder_checks import OTHERS_ERRORS, check_weights, one_line
from .prompted_towers import (
    PromptCLIPPreTrainedModel,
    PromptCLIPTextModel,
    PromptCLIPTextModelWithProjection,
    PromptCLIPVisionModel,
    PromptCLIPVisionModelWithProjection,
    at_least_float32,
)


@dataclass
class PromptCLIPOutput(CLIPOutput):
    """Output of [`PromptCLIPModel`]; fields of a missing modality are None.

    Args:
        loss: scalar, with `return_loss=True`: CLIP's contrastive loss of the pairs.
        logits_per_image: `(images, captions)`, cosines times `exp(logit_scale)`.
        logits_per_text: `(captions, images)`, its transpose.
        text_embeds: `(captions, projection_dim)`, unit vectors, at least float32.
        image_embeds: `(images, projection_dim)`, unit vectors, at least float32.
        text_model_output: of the text tower; `pooler_output` is projected.
        vision_model_output: of the vision tower; `pooler_output` is projected.
    """


def unit_vectors(features: torch.Tensor) -> torch.Tensor:
    """Normalise in at least float32: half precision would blunt rankings."""
    features = at_least_float32(features)
    return features / features.pow(2).sum(dim=-1, keepdim=True).pow(0.5)


class PromptCLIPModel(PromptCLIPPreTrainedModel, CLIPModel):
    """CLIP for text-to-image person re-identification, with fixed deep prompts in both towers.

    Without prompts it is CLIP, bit for bit, under the same state-dict keys. Prompts are trained as a PEFT adapter
    ([`DeepPromptConfig`]) and become fixed by `merge_and_unload`.
    """

    def __init__(self, config: PromptCLIPConfig) -> None:
        CLIPPreTrainedModel.__init__(self, config)
        self.projection_dim = config.projection_dim
        self.text_embed_dim = config.text_config.hidden_size
        self.vision_embed_dim = config.vision_config.hidden_size
        self.text_model = PromptCLIPTextModel._from_config(config.text_config)
        self.vision_model = PromptCLIPVisionModel._from_config(config.vision_config)
        self.visual_projection = nn.Linear(self.vision_embed_dim, self.projection_dim, bias=False)
        self.text_projection = nn.Linear(self.text_embed_dim, self.projection_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        self.post_init()

    @classmethod
    def from_clip(
        cls, name_or_path: str | os.PathLike, image_size: tuple[int, int] | None = (384, 128), **kwargs: Any
    ) -> "PromptCLIPModel":
        """Start from a CLIP checkpoint, plain or PromptCLIP, at another image size.

        Args:
            name_or_path: a folder or Hub id, such as `"openai/clip-vit-base-patch16"`.
            image_size: `(height, width)` in pixels, multiples of the patch size; position embeddings are resized
                bicubically. None keeps the checkpoint's size.
            **kwargs: as for `from_pretrained` (`dtype`, `attn_implementation`, `revision`, ...).

        Raises ValueError: no CLIP with both towers, tensors missing or left over, or a size that patches do not fill;
        OSError: the folder or Hub id, or its weights, cannot be read.
        """
        name_or_path = str(name_or_path)  # PEFT writes it into the adapter's configuration, as JSON
        try:
            config_dict, _ = PromptCLIPConfig.get_config_dict(name_or_path, **kwargs)
            config = PromptCLIPConfig.from_dict(config_dict)
        except OTHERS_ERRORS as error:
            raise ValueError(
                f"config.json of base model {name_or_path!r} is not valid: {one_line(error)}; correct it there, or "
                "copy or download it again"
            ) from error
        if image_size is not None:
            image_size = as_image_size(image_size, config.vision_config.patch_size)
        try:
            folder = Path(name_or_path, kwargs.get("subfolder") or "")
            if folder.is_dir() and not getattr(config, "quantization_config", None):
                check_weights(folder, lambda: cls(copy.deepcopy(config)))
            # mismatches are refused below, by name: transformers' own error leaves the names to its log
            options = {**kwargs, "output_loading_info": True, "ignore_mismatched_sizes": True}
            model, info = cls.from_pretrained(name_or_path, **options)
        except OTHERS_ERRORS as error:
            if isinstance(error, torch.OutOfMemoryError) or isinstance(error, TypeError) and kwargs:
                raise  # of the caller
            activations = (config.text_config.hidden_act, config.vision_config.hidden_act)
            if isinstance(error, KeyError) and error.args and error.args[0] in activations:
                raise ValueError(
                    f"hidden_act in config.json of {name_or_path!r} is {error.args[0]!r}, which transformers lacks; "
                    "CLIP's are quick_gelu and gelu"
                ) from error
            raise OSError(
                f"the weights of {name_or_path!r} are damaged ({one_line(error)}); save or download them again"
            ) from error
        for name, found, wanted in sorted(info["mismatched_keys"]):
            raise ValueError(
                f"checkpoint {name_or_path!r} has {name} of shape {tuple(found)}, its config.json asks for "
                f"{tuple(wanted)}; give the config.json and the weights of one model"
            )
        raise_on_incomplete_checkpoint(name_or_path, info["missing_keys"], info["unexpected_keys"])
        model = model if image_size is None else model.resized(image_size)
        model.name_or_path = name_or_path
        return model

    def resized(self, image_size: tuple[int, int]) -> "PromptCLIPModel":
        """Resize position embeddings for images of `image_size` `(height, width)`.

        Returns: `self` if the size is unchanged, otherwise a new model that shares no tensor with it.

        Raises ValueError: a size that patches do not fill, or offloaded position embeddings.
        """
        if as_image_size(image_size, self.config.vision_config.patch_size) == self.vision_model.embeddings.image_size:
            return self
        model = copy.deepcopy(self)
        model.config.vision_config.image_size = list(image_size)
        model.vision_model.embeddings.follow_image_size()
        return model

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        return_loss: bool | None = None,
        interpolate_pos_encoding: bool = False,
        **kwargs: Any,
    ) -> PromptCLIPOutput:
        """Embed captions, images, or both, and compare them.

        Args:
            input_ids: `(captions, tokens)`, padded on the right, best to the longest caption of the batch: the pooled
                token sees no padding.
            pixel_values: `(images, channels, height, width)`, normalised by the processor.
            attention_mask: `(captions, tokens)`; not needed.
            position_ids: `(captions, tokens)`.
            return_loss: also compute CLIP's contrastive loss of the pairs.
            interpolate_pos_encoding: accept images of another size.
            **kwargs: `pooled_only=True` computes only the pooled tokens in the last layers, which is faster;
                `output_hidden_states`, `output_attentions`, `return_dict=False` for a tuple without Nones, ...

        Raises ValueError: neither captions nor images, or a loss asked for without both.
        """
        if input_ids is None and pixel_values is None:
            raise ValueError("neither input_ids nor pixel_values was given; pass captions, images, or both")
        if return_loss and (input_ids is None or pixel_values is None):
            raise ValueError("return_loss=True compares captions with images; pass both input_ids and pixel_values")
        vision = text = image_embeds = text_embeds = logits_per_text = None
        if pixel_values is not None:
            vision = self.get_image_features(
                pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, return_dict=True, **kwargs
            )
            image_embeds = unit_vectors(vision.pooler_output)
        if input_ids is not None:
            text = self.get_text_features(
                input_ids, attention_mask=attention_mask, position_ids=position_ids, return_dict=True, **kwargs
            )
            text_embeds = unit_vectors(text.pooler_output)
        if image_embeds is not None and text_embeds is not None:
            cosines = text_embeds @ image_embeds.t().to(text_embeds.device)
            logits_per_text = cosines * self.logit_scale.exp().to(cosines.device)
        return PromptCLIPOutput(
            loss=image_text_contrastive_loss(logits_per_text) if return_loss else None,
            logits_per_image=None if logits_per_text is None else logits_per_text.t(),
            logits_per_text=logits_per_text,
            text_embeds=text_embeds,
            image_embeds=image_embeds,
            text_model_output=text,
            vision_model_output=vision,
        )

    def get_input_embeddings(self) -> nn.Module:
        """Return the token embedding of the text tower."""
        return self.text_model.embeddings.token_embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embedding of the text tower."""
        self.text_model.embeddings.token_embedding = value

    def update_prompt_config(self) -> None:
        """Write the slots' prompt counts into the configuration, before saving.

        Raises ValueError: layers of a tower hold different numbers of prompts, which a configuration cannot express.
        """
        for tower in TOWERS:
            encoder = getattr(self, f"{tower}_model").encoder
            lengths = [len(layer.prompt.weight) for layer in encoder.layers]
            config = getattr(self.config, f"{tower}_config")
            config.prompt_length, config.prompt_layers = prompt_settings(tower, lengths)


def raise_on_incomplete_checkpoint(name: str, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """Raise ValueError if a checkpoint lacks tensors or holds others."""
    for problem, keys in (("lacks", sorted(missing)), ("holds, beyond the model's own,", sorted(unexpected))):
        if keys:
            raise ValueError(
                f"checkpoint {name!r} {problem} {len(keys)} tensors, such as {keys[0]!r}; give a complete one, for a "
                "base model the weights of a CLIP with both towers"
            )


AutoConfig.register("prompt_clip_text_model", PromptCLIPTextConfig, exist_ok=True)
AutoConfig.register("prompt_clip_vision_model", PromptCLIPVisionConfig, exist_ok=True)
AutoConfig.register("prompt_clip", PromptCLIPConfig, exist_ok=True)
AutoModel.register(PromptCLIPTextConfig, PromptCLIPTextModel, exist_ok=True)
AutoModel.register(PromptCLIPVisionConfig, PromptCLIPVisionModel, exist_ok=True)
AutoModel.register(PromptCLIPConfig, PromptCLIPModel, exist_ok=True)
AutoModelForZeroShotImageClassification.register(PromptCLIPConfig, PromptCLIPModel, exist_ok=True)

__all__ = [
    "PromptCLIPModel",
    "PromptCLIPOutput",
    "PromptCLIPPreTrainedModel",
    "PromptCLIPTextModel",
    "PromptCLIPTextModelWithProjection",
    "PromptCLIPVisionModel",
    "PromptCLIPVisionModelWithProjection",
]
