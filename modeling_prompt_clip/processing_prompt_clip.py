"""The processor of PromptCLIP: CLIP's tokenizer and image processor at the model's rectangular size."""

import os
from typing import Any

from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, CLIPImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from .configuration_prompt_clip import PromptCLIPConfig
from .private_uploads import PrivateUploads

TENSORS = {"return_tensors": "pt"}
# what holds where the caller says nothing, neither plainly nor for one modality
DEFAULTS = {
    "text_kwargs": {"padding": "longest", "truncation": True, "return_attention_mask": False, **TENSORS},
    "images_kwargs": TENSORS,
}


def load_tokenizer(name_or_path: str | os.PathLike, config: PromptCLIPConfig, **kwargs: Any) -> Any:
    """The tokenizer under a name, checked against the model that it is for and cut to its context.

    Raises:
        OSError: there is no readable tokenizer.
        ValueError: the tokenizer is of another model.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, **kwargs)
    except (OSError, ValueError) as error:
        raise OSError(
            f"model {str(name_or_path)!r} has no readable tokenizer; put CLIP's tokenizer.json, or vocab.json and "
            f"merges.txt, beside its config.json ({error})"
        ) from error
    vocabulary = config.text_config.vocab_size
    if not vocabulary <= 2 * len(tokenizer) <= 2 * vocabulary:  # transformers makes an empty one of missing files
        raise ValueError(
            f"the tokenizer of model {str(name_or_path)!r} has {len(tokenizer)} tokens, its text tower takes "
            f"{vocabulary} (text_config.vocab_size); put the tokenizer files that belong to it beside config.json"
        )
    tokenizer.model_max_length = min(tokenizer.model_max_length, config.text_config.max_position_embeddings)
    return tokenizer


class PromptCLIPProcessor(PrivateUploads, ProcessorMixin):
    """Turns captions into `input_ids` and images into `pixel_values`.

    Captions are padded to the longest of the batch and cut to the model's context, their end token kept; there is no
    attention mask, because the pooled end token never sees padding. Images are resized, bicubically and without
    keeping their aspect, to the model's size by Pillow on every machine, so that scores do not depend on whether
    torchvision is installed.

    Args:
        image_processor: one that resizes to `height` and `width`; any other backend's is turned into Pillow's.
        tokenizer: the CLIP tokenizer of the model.
    """

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, **kwargs: Any) -> None:
        if image_processor is not None and not isinstance(image_processor, CLIPImageProcessorPil):
            image_processor = CLIPImageProcessorPil.from_dict(image_processor.to_dict())
        super().__init__(image_processor, tokenizer, **kwargs)

    @classmethod
    def from_clip(
        cls, name_or_path: str | os.PathLike, image_size: tuple[int, int] | None = (384, 128), **kwargs: Any
    ) -> "PromptCLIPProcessor":
        """The processor that goes with `PromptCLIPModel.from_clip(name_or_path, image_size)`.

        All but the size is the checkpoint's own, colour statistics included, where it has a preprocessor_config.json;
        otherwise it is CLIP's.

        Raises:
            OSError: the checkpoint has no tokenizer or no configuration.
            ValueError: the checkpoint is of no CLIP, or the tokenizer is of another.
        """
        config = PromptCLIPConfig.from_pretrained(name_or_path, **kwargs)
        height, width = image_size or config.vision_config.image_height_width
        tokenizer = load_tokenizer(name_or_path, config, **kwargs)
        size = {"height": height, "width": width}
        fit = {"size": size, "crop_size": size, "do_center_crop": False}
        try:
            image_processor = CLIPImageProcessorPil.from_pretrained(name_or_path, **fit, **kwargs)
        except OSError:  # a bare checkpoint without preprocessor_config.json
            image_processor = CLIPImageProcessorPil(**fit)
        return cls(image_processor=image_processor, tokenizer=tokenizer)

    def to_dict(self) -> dict[str, Any]:
        """The settings, which name Pillow's image processor: transformers leaves the backend to the machine."""
        settings = super().to_dict()
        if "image_processor" in settings:
            settings["image_processor"]["image_processor_type"] = CLIPImageProcessorPil.__name__
        return settings

    @property
    def image_size(self) -> tuple[int, int]:
        """`(height, width)` in pixels of the images that come out."""
        return self.image_processor.size["height"], self.image_processor.size["width"]

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> Any:
        """Process captions, images, or both.

        Args:
            images: a picture or a list of pictures (PIL images, arrays, tensors, paths).
            text: a caption or a list of captions.
            **kwargs: as for any processor; `return_tensors="pt"`, padding to the longest and truncation to the
                context are the defaults here.

        Returns:
            `BatchFeature` with `input_ids` `(captions, tokens)` and `pixel_values` `(images, 3, height, width)`.
        """
        given = {*kwargs, *kwargs.get("common_kwargs", {})}
        for modality, defaults in DEFAULTS.items():
            left_open = {name: value for name, value in defaults.items() if name not in given}
            kwargs[modality] = left_open | kwargs.get(modality, {})
        return super().__call__(images=images, text=text, **kwargs)


AutoProcessor.register(PromptCLIPConfig, PromptCLIPProcessor, exist_ok=True)
# by the saved type, AutoImageProcessor and pipelines find this entry: Pillow also where torchvision is installed
AutoImageProcessor.register(
    PromptCLIPConfig,
    image_processor_classes={"pil": CLIPImageProcessorPil, "torchvision": CLIPImageProcessorPil},
    exist_ok=True,
)

__all__ = ["PromptCLIPProcessor", "load_tokenizer"]
