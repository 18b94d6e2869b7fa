"""Base models of both classes for the tests of the PEFT method, and one trained model for those of loading."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from PIL import Image
from torch import nn
from transformers import CLIPModel

from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.hub import add_remote_code
from modeling_prompt_clip.loading import load_model

PEOPLE = ["a man in red", "red " * 99]


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


@pytest.fixture(scope="session")
def merged_folder(tiny_adapter_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of 96x32 images with merged prompts, and its processor; tests must not change it."""
    folder = tmp_path_factory.mktemp("models") / "merged"
    for part in load_model(tiny_adapter_folder):
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def published_folder(merged_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the model's code beside it, as on the Hub; tests must not change it."""
    folder = shutil.copytree(merged_folder, tmp_path_factory.mktemp("models") / "published")
    add_remote_code(folder)
    return folder


@pytest.fixture(scope="session")
def embed_people(pictures: list[Image.Image]) -> Callable[[nn.Module, PromptCLIPProcessor], torch.Tensor]:
    """Embeddings of two captions, one of them too long, and three pictures, `(5, projection_dim)`."""

    def embed_people(model: nn.Module, processor: PromptCLIPProcessor) -> torch.Tensor:
        with torch.no_grad():
            output = model.eval()(**processor(images=pictures, text=PEOPLE))
        return torch.cat([output.text_embeds, output.image_embeds])

    return embed_people


@pytest.fixture(scope="session")
def wanted(tiny_clip_folder: Path, tiny_adapter_folder: Path, embed_people: Callable) -> torch.Tensor:
    """What the adapter on its base model says of these people, before anything was merged or saved."""
    base, processor = load_model(tiny_clip_folder, image_size=(96, 32))
    return embed_people(PeftModel.from_pretrained(base, tiny_adapter_folder), processor)
