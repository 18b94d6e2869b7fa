"""Base models of both classes for the tests of the PEFT method."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import CLIPModel

from modeling_prompt_clip import PromptCLIPModel


@pytest.fixture
def build(tiny_clip_folder: Path) -> Callable[[type], nn.Module]:
    """A fresh base model of either class, in eval mode; the plain CLIP takes 64x64 images, ours 96x32."""

    def build(base_class: type) -> nn.Module:
        if base_class is CLIPModel:
            return CLIPModel.from_pretrained(tiny_clip_folder)
        return PromptCLIPModel.from_clip(tiny_clip_folder, image_size=(96, 32)).eval()

    return build


@pytest.fixture
def embed(
    input_ids: torch.Tensor, pixel_values: torch.Tensor, square_pixel_values: torch.Tensor
) -> Callable[[nn.Module], torch.Tensor]:
    """Embeddings of the shared captions and images of the model's size, `(8, projection_dim)`."""

    def embed(model: nn.Module) -> torch.Tensor:
        model.eval()
        square = model.config.vision_config.image_size == 64
        with torch.no_grad():
            output = model(input_ids=input_ids, pixel_values=square_pixel_values if square else pixel_values)
        return torch.cat([output.text_embeds, output.image_embeds])

    return embed
