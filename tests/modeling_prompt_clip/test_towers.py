"""Towers load from a whole model's folder, alone and with their projection, as CLIP's own do."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.loading import load_model
from modeling_prompt_clip.modeling_prompt_clip import (
    PromptCLIPTextModel,
    PromptCLIPTextModelWithProjection,
    PromptCLIPVisionModel,
    PromptCLIPVisionModelWithProjection,
)

TOWERS = {
    PromptCLIPTextModel: ("text_model", "input_ids", "pooler_output"),
    PromptCLIPTextModelWithProjection: ("text_model", "input_ids", "text_embeds"),
    PromptCLIPVisionModel: ("vision_model", "pixel_values", "pooler_output"),
    PromptCLIPVisionModelWithProjection: ("vision_model", "pixel_values", "image_embeds"),
}


def _expected(model: PromptCLIPModel, cls: type, value: torch.Tensor) -> torch.Tensor:
    tower, _, output = TOWERS[cls]
    pooled = getattr(model, tower)(value).pooler_output
    if output == "pooler_output":
        return pooled
    return (model.text_projection if tower == "text_model" else model.visual_projection)(pooled)


@pytest.mark.parametrize("cls", TOWERS)
@torch.no_grad()
def test_a_tower_of_a_model_folder(
    cls: type, merged_folder: Path, tmp_path: Path, input_ids: torch.Tensor, pixel_values: torch.Tensor
):
    model = PromptCLIPModel.from_pretrained(merged_folder).eval()
    value = input_ids if "Text" in cls.__name__ else pixel_values
    expected = _expected(model, cls, value)
    tower, info = cls.from_pretrained(merged_folder, output_loading_info=True)
    _, argument, output = TOWERS[cls]
    assert not info["missing_keys"] and len(expected.unique()) > 10
    assert torch.equal(getattr(tower.eval()(**{argument: value}), output), expected)
    tower.save_pretrained(tmp_path)
    again = cls.from_pretrained(tmp_path).eval()
    assert torch.equal(getattr(again(**{argument: value}), output), expected)


@pytest.mark.parametrize(
    ("cls", "theirs"),
    [
        (PromptCLIPTextModelWithProjection, CLIPTextModelWithProjection),
        (PromptCLIPVisionModelWithProjection, CLIPVisionModelWithProjection),
    ],
)
@torch.no_grad()
def test_a_tower_of_a_plain_clip(
    cls: type,
    theirs: type,
    tiny_clip_folder: Path,
    tmp_path: Path,
    input_ids: torch.Tensor,
    square_pixel_values: torch.Tensor,
):
    folder = shutil.copytree(tiny_clip_folder, tmp_path / "clip")
    config = json.loads((folder / "config.json").read_text())
    for part in ("text_config", "vision_config"):  # as OpenAI's say it too
        config[part]["projection_dim"] = config["projection_dim"]
    (folder / "config.json").write_text(json.dumps(config))
    value = input_ids if "Text" in cls.__name__ else square_pixel_values
    _, argument, output = TOWERS[cls]
    expected = theirs.from_pretrained(folder).eval()(**{argument: value})
    found = cls.from_pretrained(folder).eval()(**{argument: value})
    torch.testing.assert_close(getattr(found, output), getattr(expected, output), rtol=0, atol=1e-6)


def test_a_whole_model_is_saved_under_clips_names(merged_folder: Path, tmp_path: Path):
    PromptCLIPModel.from_pretrained(merged_folder).save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == load_file(merged_folder / "model.safetensors").keys()


@pytest.mark.parametrize("cls", [*TOWERS, PromptCLIPModel])
def test_gradient_checkpointing_of_a_configuration(cls: type, merged_folder: Path):
    config = cls.config_class.from_pretrained(merged_folder)
    parts = [config] if cls is not PromptCLIPModel else [config.text_config, config.vision_config]
    for part in parts:
        part.gradient_checkpointing = True
    model = cls(copy.deepcopy(config))
    encoders = [module for name, module in model.named_modules() if name.endswith("encoder")]
    assert encoders and all(layer.gradient_checkpointing for encoder in encoders for layer in encoder.layers)


@pytest.mark.parametrize("cls", [*TOWERS, PromptCLIPModel])
def test_input_embeddings_are_replaced(cls: type, merged_folder: Path):
    model = cls.from_pretrained(merged_folder)
    new = copy.deepcopy(model.get_input_embeddings())
    model.set_input_embeddings(new)
    assert model.get_input_embeddings() is new and any(module is new for module in model.modules())


@torch.no_grad()
def test_token_embeddings_are_resized(merged_folder: Path, input_ids: torch.Tensor, pixel_values: torch.Tensor):
    model, _ = load_model(merged_folder)
    before = model(input_ids, pixel_values).logits_per_text
    model.resize_token_embeddings(600)
    assert model.config.text_config.vocab_size == len(model.get_input_embeddings().weight) == 600
    assert torch.equal(model(input_ids, pixel_values).logits_per_text, before)


def test_the_processor_names_what_comes(merged_folder: Path, pictures: list):
    processor = PromptCLIPProcessor.from_pretrained(merged_folder)
    assert set(processor(images=pictures, text=["a man"])) == set(processor.model_input_names)
    with_mask = processor(text=["a man", "a man in red"], return_attention_mask=True)
    assert with_mask["attention_mask"].sum() < with_mask["attention_mask"].numel()


def test_what_a_tokenizer_was_saved_with_wins_over_defaults(merged_folder: Path):
    processor = PromptCLIPProcessor.from_pretrained(merged_folder)
    processor.tokenizer.init_kwargs["padding"] = "max_length"
    context = processor.tokenizer.model_max_length
    assert processor(text="a man")["input_ids"].shape == (1, context)
    assert processor(text="a man", padding="longest")["input_ids"].shape[1] < context
