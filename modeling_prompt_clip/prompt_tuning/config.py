"""Settings of the PEFT method `CLIP_PROMPT`."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from peft import PeftConfig
from peft.utils import PeftType

from modeling_prompt_clip.configuration_prompt_clip import MOST_PROMPTS, TOWERS
from modeling_prompt_clip.private_uploads import PrivateUploads

__all__ = ["CLIP_PROMPT", "ClipPromptConfig", "DeepPromptConfig", "check_base_model", "check_base_towers"]

CLIP_PROMPT = "CLIP_PROMPT"


@dataclass
class DeepPromptConfig(PrivateUploads, PeftConfig):
    """Configuration of the PEFT method `CLIP_PROMPT`: trainable deep prompts in CLIP.

    Counts, depth and initialisation are our choices; we found none in the paper (arXiv 2401.02173).

    Raises ValueError: a negative length, no prompts, an unknown initialisation, `init_std` not above 0, or coupled
    prompts of different lengths or started from activations.
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
    base_towers: dict[str, list[int]] | None = field(
        default=None,
        metadata={
            "help": "Layers and width of each tower, as in {'text': [12, 512], 'vision': [12, 768]}; recorded from "
            "the base model, and checked on load."
        },
    )
    target_modules: list[str] | str | None = field(
        default=None, metadata={"help": "The prompt slots; inferred from lengths and layers when None."}
    )
    exclude_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Prompt slots to leave out: names' ends, or an expression for whole names."}
    )
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Further modules to train and save with the prompts."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType(CLIP_PROMPT)
        for name in ("text_prompt_length", "vision_prompt_length"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be 0 (no prompts) or more, an integer")
            if getattr(self, name) > MOST_PROMPTS:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at most {MOST_PROMPTS}")
        for name in ("prompt_layers", "image_size"):
            if not _are_integers(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be a list of integers, or left out")
        towers = self.base_towers or {}
        if (
            not isinstance(towers, dict)
            or not towers.keys() <= set(TOWERS)
            or not all(_are_integers(value) and value and len(value) == 2 for value in towers.values())
        ):
            raise ValueError(f"base_towers is {towers!r}; it must hold [layers, width] of 'text' and 'vision'")
        if not self.text_prompt_length and not self.vision_prompt_length:
            raise ValueError("text_prompt_length and vision_prompt_length are both 0; prompt at least one tower")
        if self.prompt_init not in ("normal", "activations"):
            raise ValueError(f"prompt_init is {self.prompt_init!r}; it must be 'normal' or 'activations'")
        if not isinstance(self.init_std, (int, float)) or not 0 < self.init_std < math.inf:
            raise ValueError(f"init_std is {self.init_std!r}; it must be above 0")
        if not isinstance(self.coupled_prompts, bool):
            raise ValueError(f"coupled_prompts is {self.coupled_prompts!r}; it must be true or false")
        if not isinstance(self.base_model_name_or_path, (str, type(None))):
            raise ValueError(f"base_model_name_or_path is {self.base_model_name_or_path!r}; it must be text")
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


def _are_integers(value: Any) -> bool:
    return value is None or isinstance(value, (list, tuple)) and all(type(part) is int for part in value)


ClipPromptConfig = DeepPromptConfig


def check_base_model(model_config: dict[str, Any]) -> list[int]:
    """Return `[height, width]` of the images that a CLIP configuration takes.

    Raises ValueError: not a CLIP with both towers.
    """
    missing = [f"{tower}_config" for tower in TOWERS if not model_config.get(f"{tower}_config")]
    if missing:
        raise ValueError(
            f"the base model (model_type {model_config.get('model_type')!r}) has no {missing[0]}; CLIP_PROMPT needs a "
            "CLIP with both towers, such as PromptCLIPModel.from_clip(...)"
        )
    size = model_config["vision_config"]["image_size"]
    return [size, size] if isinstance(size, int) else list(size)


def check_base_towers(adapter: DeepPromptConfig, model_config: dict[str, Any]) -> None:
    """Record the base's depths and widths, or check recorded ones.

    Raises ValueError: towers of another depth or width.
    """
    names = ("num_hidden_layers", "hidden_size")
    towers = {tower: [model_config[f"{tower}_config"][name] for name in names] for tower in TOWERS}
    for tower, (layers, width) in (adapter.base_towers or {}).items():
        if towers[tower] != [layers, width]:
            raise ValueError(
                f"the adapter was made for a {tower} tower of {layers} layers of width {width}, that of this base "
                f"model has {towers[tower][0]} of {towers[tower][1]}; load the base that it names, "
                f"{adapter.base_model_name_or_path!r}"
            )
    adapter.base_towers = towers
