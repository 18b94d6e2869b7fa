"""PromptCLIP: find people by sentence, with CLIP adapted in two stages."""

from modeling_prompt_clip.configuration_clip_prompt import ClipPromptConfig
from modeling_prompt_clip.configuration_prompt_clip import PromptCLIPConfig
from modeling_prompt_clip.modeling_prompt_clip import PromptCLIPModel, PromptCLIPOutput
from modeling_prompt_clip.private_pipelines import keep_pipelines_private
from modeling_prompt_clip.processing_prompt_clip import PromptCLIPProcessor
from modeling_prompt_clip.prompt_tuning import ClipPromptModel

__version__ = "0.1.0"

keep_pipelines_private()

__all__ = [
    "ClipPromptConfig",
    "ClipPromptModel",
    "PromptCLIPConfig",
    "PromptCLIPModel",
    "PromptCLIPOutput",
    "PromptCLIPProcessor",
]
