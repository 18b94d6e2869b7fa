"""PromptCLIP: find people by sentence, with CLIP adapted in two stages."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from modeling_prompt_clip.configuration_prompt_clip import PromptCLIPConfig
from modeling_prompt_clip.modeling_prompt_clip import PromptCLIPModel, PromptCLIPOutput
from modeling_prompt_clip.processing_prompt_clip import PromptCLIPProcessor
from modeling_prompt_clip.prompt_tuning import ClipPromptConfig, ClipPromptModel, DeepPromptConfig, DeepPromptModel
from modeling_prompt_clip.prompt_tuning import config as configuration_clip_prompt
from modeling_prompt_clip.uploads import route_uploads

if TYPE_CHECKING:
    from modeling_prompt_clip.loading import load_model
    from modeling_prompt_clip.retrieval import TextToImageEvaluator, retrieval_metrics

__version__ = "0.1.0"

route_uploads()
sys.modules[f"{__name__}.configuration_clip_prompt"] = configuration_clip_prompt  # its earlier name

_IMPORTED_ON_USE = {
    "load_model": "modeling_prompt_clip.loading",
    "TextToImageEvaluator": "modeling_prompt_clip.retrieval",
    "retrieval_metrics": "modeling_prompt_clip.retrieval",
}

__all__ = [
    "ClipPromptConfig",
    "ClipPromptModel",
    "DeepPromptConfig",
    "DeepPromptModel",
    "PromptCLIPConfig",
    "PromptCLIPModel",
    "PromptCLIPOutput",
    "PromptCLIPProcessor",
    "TextToImageEvaluator",
    "load_model",
    "retrieval_metrics",
]


def __getattr__(name: str) -> Any:
    if name not in _IMPORTED_ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_IMPORTED_ON_USE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
