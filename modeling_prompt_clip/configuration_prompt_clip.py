"""Configuration of the model: CLIP's, with fixed deep prompts and rectangular images."""

from typing import TYPE_CHECKING, Any

from huggingface_hub.dataclasses import strict
from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig

from .folder_checks import in_words
from .private_uploads import PrivateUploads

TOWERS = ("text", "vision")
# far above any CLIP, and small enough to build
LARGEST = {
    "hidden_size": 16_384,
    "intermediate_size": 131_072,
    "num_hidden_layers": 256,
    "num_attention_heads": 1_024,
    "vocab_size": 2_000_000,
    "max_position_embeddings": 65_536,
    "patch_size": 1_024,
    "image_size": 8_192,
    "num_channels": 64,
    "projection_dim": 16_384,
}
MOST_PROMPTS = 1_024
_ATTENTION = ("attn_implementation", "_attn_implementation")  # a choice of who loads, never of a file


def validate_sizes(config: Any, part: str) -> None:
    """Check the sizes in a configuration, before a model of them is built.

    Raises ValueError: a size below 1 or above its entry in `LARGEST`.
    """
    for name, most in LARGEST.items():
        value = getattr(config, name, None)
        for side in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(side, (int, float)) and not 1 <= side <= most:
                raise ValueError(f"{name} of {part} is {value}; it must be from 1 to {most}")


def validate_prompt_settings(tower: str, prompt_length: int, prompt_layers: list[int] | None, num_layers: int) -> None:
    """Check the prompts of one tower, `"text"` or `"vision"`.

    Raises ValueError: a negative length, or a layer that is repeated or does not exist.
    """
    if prompt_length < 0:
        raise ValueError(f"prompt_length of the {tower} tower is {prompt_length}; it must be 0 (no prompts) or more")
    if prompt_length > MOST_PROMPTS:
        raise ValueError(f"prompt_length of the {tower} tower is {prompt_length}; it must be at most {MOST_PROMPTS}")
    if prompt_layers is None:
        return
    if len(set(prompt_layers)) != len(prompt_layers) or not prompt_layers:
        raise ValueError(f"prompt_layers is {prompt_layers}; give each layer once, or None to prompt all layers")
    missing = [layer for layer in prompt_layers if not 0 <= layer < num_layers]
    if prompt_length and missing:
        raise ValueError(
            f"prompt_layers names layer {missing[0]}, but the {tower} tower has layers 0 to {num_layers - 1}; "
            f"leave it out, or set the {tower} prompt length to 0"
        )


def prompt_settings(tower: str, lengths: list[int]) -> tuple[int, list[int] | None]:
    """Return `prompt_length` and `prompt_layers` of a tower with `lengths` prompts in its layers.

    Raises ValueError: the prompted layers hold different numbers of prompts, which a configuration cannot express.
    """
    prompted = [layer for layer, length in enumerate(lengths) if length]
    if len({lengths[layer] for layer in prompted}) > 1:
        raise ValueError(
            f"the layers of the {tower} tower would hold {lengths} prompts; all prompted layers of a tower hold the "
            "same number: merge adapters that prompt the same layers (prompt_layers)"
        )
    return lengths[prompted[0]] if prompted else 0, None if len(prompted) in (0, len(lengths)) else prompted


def as_image_size(image_size: int | list[int] | tuple[int, int] | None, patch_size: int) -> tuple[int, int]:
    """Return `(height, width)` in pixels, checked against the patch size.

    Raises ValueError: not one or two positive integers, or not a multiple of the patch size.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if not isinstance(size, (list, tuple)) or [type(side) for side in size] != [int, int] or min(size) < 1:
        raise ValueError(f"image_size is {image_size!r}; give [height, width] in pixels, such as [384, 128]")
    for name, side in zip(("height", "width"), size, strict=True):
        if side % patch_size:
            lower = side // patch_size * patch_size
            raise ValueError(
                f"image_size {list(size)} has {name} {side}, which the patch size {patch_size} does not divide; take "
                + " or ".join(str(fitting) for fitting in (lower, lower + patch_size) if fitting)
            )
    return tuple(size)


@strict
class PromptCLIPTextConfig(PrivateUploads, CLIPTextConfig):
    """[`CLIPTextConfig`] with deep prompts.

    Args:
        prompt_length: fixed prompts in each prompted layer; 0 means none.
        prompt_layers: indices of the prompted layers, None for all.
    """

    model_type = "prompt_clip_text_model"

    prompt_length: int = 0
    prompt_layers: list[int] | None = None

    def validate_prompts(self) -> None:
        """Part of `@strict`-powered validation: see [`validate_prompt_settings`], [`validate_sizes`]."""
        validate_sizes(self, "text_config")
        validate_prompt_settings("text", self.prompt_length, self.prompt_layers, self.num_hidden_layers)

    def validate_end_token(self) -> None:
        """Part of `@strict`-powered validation: captions end with one token."""
        if isinstance(self.eos_token_id, list) and len(self.eos_token_id) > 1:
            raise ValueError(f"eos_token_id of text_config is {self.eos_token_id}; give the one that ends captions")

    @property
    def end_token_id(self) -> int | None:
        """Id of the end token; None means each caption's largest id.

        As in OpenAI's CLIP: `eos_token_id` is absent, 1, 2 or outside the vocabulary.
        """
        token = self.eos_token_id
        if isinstance(token, list):
            token = token[0] if token else None
        return token if token not in (None, 1, 2) and 0 <= token < self.vocab_size else None


@strict
class PromptCLIPVisionConfig(PrivateUploads, CLIPVisionConfig):
    """[`CLIPVisionConfig`] with deep prompts; `image_size` may be `[height, width]`.

    Args:
        prompt_length, prompt_layers: as in [`PromptCLIPTextConfig`].
    """

    model_type = "prompt_clip_vision_model"

    prompt_length: int = 0
    prompt_layers: list[int] | None = None

    def validate_prompts(self) -> None:
        """Part of `@strict`-powered validation: see [`validate_prompt_settings`] and [`as_image_size`]."""
        validate_sizes(self, "vision_config")
        validate_prompt_settings("vision", self.prompt_length, self.prompt_layers, self.num_hidden_layers)
        as_image_size(self.image_size, self.patch_size)

    @property
    def image_height_width(self) -> tuple[int, int]:
        """`(height, width)` of an input image in pixels."""
        return as_image_size(self.image_size, self.patch_size)

    @property
    def patch_grid(self) -> tuple[int, int]:
        """`(rows, columns)` of patches, such as 24 x 8 for 384x128 pixels."""
        height, width = self.image_height_width
        return height // self.patch_size, width // self.patch_size


@strict
class PromptCLIPConfig(PrivateUploads, CLIPConfig):
    """Configuration of [`PromptCLIPModel`]; reads plain CLIP's as one without prompts."""

    model_type = "prompt_clip"
    sub_configs_defaults = {"vision_config": PromptCLIPVisionConfig, "text_config": PromptCLIPTextConfig}

    if TYPE_CHECKING:  # a dict or None only until the configuration is made
        text_config: PromptCLIPTextConfig
        vision_config: PromptCLIPVisionConfig
    else:
        text_config: dict | PromptCLIPTextConfig | None = None
        vision_config: dict | PromptCLIPVisionConfig | None = None

    def validate_projection(self) -> None:
        """Part of `@strict`-powered validation: see [`validate_sizes`]."""
        validate_sizes(self, "the model")

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read a configuration; adopt a plain CLIP's, whose checkpoint loads unchanged.

        Raises OSError: no such folder or Hub id, or its config.json cannot be read; ValueError: neither a CLIP's nor a
        PromptCLIP's configuration.
        """
        name = str(pretrained_model_name_or_path)
        remedy = "give a folder that has one, or a Hub id such as openai/clip-vit-base-patch16"
        try:
            with in_words("it"):
                config_dict, kwargs = super().get_config_dict(name, **kwargs)
        except OSError as error:
            raise OSError(f"config.json of model {name!r} cannot be read; {remedy} ({error})") from error
        if not config_dict:
            raise OSError(f"model {name!r} has no config.json; {remedy}")
        model_type = config_dict.get("model_type")
        if model_type not in (CLIPConfig.model_type, cls.model_type):
            lacks = " and has no vision tower" if "vision_config" not in config_dict else ""
            raise ValueError(
                f"base model {name!r} has model_type {model_type!r}{lacks}; give a CLIP checkpoint with both towers, "
                "such as openai/clip-vit-base-patch16"
            )
        with in_words(f"config.json of model {name!r}"):
            return config_dict if model_type == cls.model_type else cls._adopt(config_dict), kwargs

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Ignore a file's attention setting: it could name code on the Hub."""
        kept = {name: value for name, value in config_dict.items() if name not in _ATTENTION}
        return super().from_dict(kept, **kwargs)

    @classmethod
    def _adopt(cls, clip: dict[str, Any]) -> dict[str, Any]:
        adopted = CLIPConfig.from_dict(clip).to_dict()
        for name, tower in cls.sub_configs.items():
            adopted[name] |= {"model_type": tower.model_type, "projection_dim": adopted["projection_dim"]}
        adopted.pop("auto_map", None)  # no code of the base model's repository
        return {**adopted, "model_type": cls.model_type, "architectures": None}


__all__ = ["PromptCLIPConfig", "PromptCLIPTextConfig", "PromptCLIPVisionConfig"]
