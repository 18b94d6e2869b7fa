"""What can vary: of the model, CLIP's own settings, fixed deep prompts in each tower and rectangular images; of the
PEFT method `CLIP_PROMPT`, the trainable prompts of an adapter."""

from dataclasses import dataclass, field
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from peft import PeftConfig
from peft.utils import PeftType
from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig

CLIP_PROMPT = "CLIP_PROMPT"
TOWERS = ("text", "vision")


def validate_prompt_settings(tower: str, prompt_length: int, prompt_layers: list[int] | None, num_layers: int) -> None:
    """Check the prompts of one tower.

    Args:
        tower: `"text"` or `"vision"`, for the message.
        prompt_length: prompts in each prompted layer; 0 means none.
        prompt_layers: indices of the prompted layers, `None` for all of them.
        num_layers: how many layers the tower has.

    Raises:
        ValueError: a negative length, or a layer that is repeated or does not exist.
    """
    if prompt_length < 0:
        raise ValueError(f"prompt_length of the {tower} tower is {prompt_length}; it must be 0 (no prompts) or more")
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
    """`prompt_length` and `prompt_layers` of a tower whose layers hold `lengths` prompts.

    Raises:
        ValueError: the prompted layers hold different numbers of prompts, which a configuration cannot say.
    """
    prompted = [layer for layer, length in enumerate(lengths) if length]
    if len({lengths[layer] for layer in prompted}) > 1:
        raise ValueError(
            f"the layers of the {tower} tower would hold {lengths} prompts; all prompted layers of a tower hold the "
            "same number: merge adapters that prompt the same layers (prompt_layers)"
        )
    return lengths[prompted[0]] if prompted else 0, None if len(prompted) in (0, len(lengths)) else prompted


def as_image_size(image_size: int | list[int] | tuple[int, int] | None, patch_size: int) -> tuple[int, int]:
    """The size of an image as `(height, width)` in pixels, checked against the patch size.

    Raises:
        ValueError: not one or two positive integers, or not a multiple of the patch size.
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
class PromptCLIPTextConfig(CLIPTextConfig):
    """[`CLIPTextConfig`] with deep prompts.

    Args:
        prompt_length: fixed prompts in each prompted layer of the text tower; 0 means none.
        prompt_layers: indices of the prompted layers, `None` for all.
    """

    model_type = "prompt_clip_text_model"

    prompt_length: int = 0
    prompt_layers: list[int] | None = None

    def validate_prompts(self) -> None:
        """Part of `@strict`-powered validation: see [`validate_prompt_settings`]."""
        validate_prompt_settings("text", self.prompt_length, self.prompt_layers, self.num_hidden_layers)


@strict
class PromptCLIPVisionConfig(CLIPVisionConfig):
    """[`CLIPVisionConfig`] with deep prompts; `image_size` may be `[height, width]`.

    Args:
        prompt_length: fixed prompts in each prompted layer of the vision tower; 0 means none.
        prompt_layers: indices of the prompted layers, `None` for all.
    """

    model_type = "prompt_clip_vision_model"

    prompt_length: int = 0
    prompt_layers: list[int] | None = None

    def validate_prompts(self) -> None:
        """Part of `@strict`-powered validation: see [`validate_prompt_settings`] and [`as_image_size`]."""
        validate_prompt_settings("vision", self.prompt_length, self.prompt_layers, self.num_hidden_layers)
        as_image_size(self.image_size, self.patch_size)

    @property
    def image_height_width(self) -> tuple[int, int]:
        """`(height, width)` of an input image in pixels."""
        return as_image_size(self.image_size, self.patch_size)

    @property
    def patch_grid(self) -> tuple[int, int]:
        """`(rows, columns)` of patches, 24 x 8 for 384x128 images and 16-pixel patches."""
        height, width = self.image_height_width
        return height // self.patch_size, width // self.patch_size


@strict
class PromptCLIPConfig(CLIPConfig):
    """Configuration of a [`PromptCLIPModel`]: [`CLIPConfig`] whose towers carry prompts.

    The configuration of a plain CLIP checkpoint is read as that of a PromptCLIP without prompts.
    """

    model_type = "prompt_clip"
    sub_configs_defaults = {"vision_config": PromptCLIPVisionConfig, "text_config": PromptCLIPTextConfig}

    text_config: dict | PromptCLIPTextConfig | None = None
    vision_config: dict | PromptCLIPVisionConfig | None = None

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read a configuration; a plain CLIP's is adopted, so that its checkpoint loads unchanged.

        Raises:
            OSError: there is no such folder or Hub id, or its config.json cannot be read.
            ValueError: the configuration is of neither a CLIP nor a PromptCLIP.
        """
        name = str(pretrained_model_name_or_path)
        remedy = "give a folder that has one, or a Hub id such as openai/clip-vit-base-patch16"
        try:
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
        return config_dict if model_type == cls.model_type else cls._adopt(config_dict), kwargs

    @classmethod
    def _adopt(cls, clip: dict[str, Any]) -> dict[str, Any]:
        """The configuration dictionary of a plain CLIP, as CLIP reads it, under PromptCLIP's model types."""
        adopted = CLIPConfig.from_dict(clip).to_dict()
        for name, tower in cls.sub_configs.items():
            adopted[name]["model_type"] = tower.model_type
        return {**adopted, "model_type": cls.model_type, "architectures": None}


@dataclass
class ClipPromptConfig(PeftConfig):
    """Configuration of the PEFT method `CLIP_PROMPT`: trainable deep prompts in CLIP's towers.

    Prompt counts, depth and initialisation are choices of this package; the paper (arXiv 2401.02173) does not give
    them where we could read it.

    Raises:
        ValueError: a length below 0, no prompts at all, an unknown initialisation, a spread that is not positive, or
            coupled prompts of different lengths or that start from activations.
    """

    text_prompt_length: int = field(default=4, metadata={"help": "Prompts in each prompted text layer; 0 for none."})
    vision_prompt_length: int = field(
        default=4, metadata={"help": "Prompts in each prompted vision layer; 0 for none."}
    )
    prompt_layers: list[int] | None = field(
        default=None, metadata={"help": "Indices of the prompted layers of both towers; None prompts all layers."}
    )
    prompt_init: Literal["normal", "activations"] = field(
        default="normal",
        metadata={
            "help": "'normal' draws N(0, init_std); 'activations' says that the trainer calls "
            "initialize_from_activations(input_ids, pixel_values) on the PEFT model before training, which starts the "
            "prompts from hidden states of the frozen model; until that call they are the normal draw."
        },
    )
    coupled_prompts: bool = field(
        default=False,
        metadata={
            "help": "Vision prompts of a layer are a learned linear projection of its text prompts, as in MaPLe "
            "(arXiv 2210.03117). Where one tower is deeper than the other, layers that only it has get no prompts."
        },
    )
    init_std: float = field(default=0.02, metadata={"help": "Standard deviation of the normal draw, above 0."})
    image_size: list[int] | None = field(
        default=None,
        metadata={"help": "[height, width] in pixels; recorded from the base model, and checked on load."},
    )
    target_modules: list[str] | str | None = field(
        default=None, metadata={"help": "The prompt slots; inferred from lengths and layers when None."}
    )
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Further modules to train and save with the prompts."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType(CLIP_PROMPT)
        for name in ("text_prompt_length", "vision_prompt_length"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 (no prompts) or more")
        if not self.text_prompt_length and not self.vision_prompt_length:
            raise ValueError("text_prompt_length and vision_prompt_length are both 0; prompt at least one tower")
        if self.prompt_init not in ("normal", "activations"):
            raise ValueError(f"prompt_init is {self.prompt_init!r}; it must be 'normal' or 'activations'")
        if not self.init_std > 0:
            raise ValueError(f"init_std is {self.init_std}; it must be above 0")
        if self.coupled_prompts and self.text_prompt_length != self.vision_prompt_length:
            raise ValueError(
                f"coupled_prompts is set, but text_prompt_length is {self.text_prompt_length} and "
                f"vision_prompt_length {self.vision_prompt_length}; one is a projection of the other: give both the "
                "same length"
            )
        if self.coupled_prompts and self.prompt_init == "activations":
            raise ValueError(
                "coupled_prompts is set and prompt_init is 'activations', but vision prompts that are a projection of "
                "the text prompts cannot start from images; set prompt_init to 'normal'"
            )

    def length_of(self, tower: str) -> int:
        """Prompts in each prompted layer of the `"text"` or `"vision"` tower."""
        return self.text_prompt_length if tower == "text" else self.vision_prompt_length


def check_base_model(model_config: dict[str, Any]) -> list[int]:
    """`[height, width]` in pixels of the images that a CLIP with this configuration takes.

    Raises:
        ValueError: the configuration is not of a CLIP with both towers.
    """
    missing = [f"{tower}_config" for tower in TOWERS if not model_config.get(f"{tower}_config")]
    if missing:
        raise ValueError(
            f"the base model (model_type {model_config.get('model_type')!r}) has no {missing[0]}; CLIP_PROMPT needs a "
            "CLIP with both towers, such as PromptCLIPModel.from_clip(...)"
        )
    size = model_config["vision_config"]["image_size"]
    return [size, size] if isinstance(size, int) else list(size)


__all__ = ["ClipPromptConfig", "PromptCLIPConfig", "PromptCLIPTextConfig", "PromptCLIPVisionConfig"]
