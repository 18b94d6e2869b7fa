"""Settings of the model: start, prompts, stages."""

from dataclasses import dataclass
from typing import ClassVar

from trainers.arguments.fields import setting

__all__ = ["ModelSettings"]


@dataclass
class ModelSettings:
    """Part of [`TwoStageTrainingArguments`]: the model."""

    _argument_group_name: ClassVar = "model"

    base_model: str | None = setting(
        default=None,
        help="CLIP to start from: a folder, a Hub id, or 'stand-in', the small one that ships with us.",
        local="model",
    )
    image_size: list[int] = setting(
        default_factory=lambda: [384, 128], help="Height and width in pixels, multiples of the patch size."
    )
    text_prompt_length: int = setting(
        default=4, help="Prompts in each prompted layer of the text tower.", low=0, high=1024
    )
    vision_prompt_length: int = setting(
        default=4, help="Prompts in each prompted layer of the vision tower.", low=0, high=1024
    )
    prompt_layers: list[int] | None = setting(
        default=None, help="Layers that get prompts, such as 0 1 2; all of them when left out."
    )
    prompt_init: str = setting(
        default="normal",
        help="How prompts start: 'normal', or from 'activations' of the frozen towers (experimental).",
        choices=("normal", "activations"),
    )
    prompt_init_phrase: str = setting(
        default="a photo of a person",
        help="The phrase that 'activations' starts text prompts from.",
        needs=("prompt_init", "activations"),
    )
    coupled_prompts: bool = setting(
        default=False,
        help="Vision prompts are a learned projection of the text prompts, as in MaPLe.",
        experimental=True,
    )
    stages: list[str] = setting(
        default_factory=lambda: ["one", "two"], help="Stages to run: 'one two', 'one', or 'two'."
    )
    direct: bool = setting(
        default=False, help="Direct fine-tuning, the baseline: only stage two, from the base model, without prompts."
    )
    adapter: str | None = setting(
        default=None, help="With --stages two: the stage-one adapter folder to merge before stage two.", local="model"
    )
    attn_implementation: str | None = setting(
        default=None, help="'sdpa', 'eager' or 'flash_attention_2'; transformers' choice when left out."
    )
