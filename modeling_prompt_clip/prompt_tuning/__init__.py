"""PEFT method `CLIP_PROMPT`: deep prompts for CLIP, registered on import."""

from modeling_prompt_clip.prompt_tuning.config import ClipPromptConfig, DeepPromptConfig
from modeling_prompt_clip.prompt_tuning.model import ClipPromptModel, DeepPromptModel
from modeling_prompt_clip.prompt_tuning.registration import register_clip_prompt_method

__all__ = [
    "ClipPromptConfig",
    "ClipPromptModel",
    "DeepPromptConfig",
    "DeepPromptModel",
    "register_clip_prompt_method",
]

register_clip_prompt_method()
