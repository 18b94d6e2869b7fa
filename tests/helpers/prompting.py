"""Helpers for tests of the PEFT method: strong prompts, comparison of embeddings."""

import torch
from peft import PeftModel, get_peft_model
from torch import nn

from modeling_prompt_clip import ClipPromptConfig


def strong(text: int = 3, vision: int = 5, **settings: object) -> ClipPromptConfig:
    """Prompts far from zero, so that they show in every embedding."""
    return ClipPromptConfig(text_prompt_length=text, vision_prompt_length=vision, init_std=1.0, **settings)


def adapted(base: nn.Module, config: ClipPromptConfig | None = None, seed: int = 11) -> PeftModel:
    torch.manual_seed(seed)
    return get_peft_model(base, config or strong()).eval()


def differs(left: torch.Tensor, right: torch.Tensor) -> bool:
    return (left - right).abs().max().item() > 1e-2


def equals(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Equal up to the order in which attention adds up the same prompts."""
    return (left - right).abs().max().item() < 1e-5


def trainable(model: nn.Module) -> set[str]:
    return {name for name, value in model.named_parameters() if value.requires_grad}
