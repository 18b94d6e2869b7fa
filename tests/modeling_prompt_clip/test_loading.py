"""`load_model`: every kind of name gives a model in eval mode and the processor that goes with it."""

import json
import logging
import shutil
import sys
import warnings
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

import modeling_prompt_clip
from modeling_prompt_clip import ClipPromptConfig, PromptCLIPModel, PromptCLIPProcessor, loading
from modeling_prompt_clip.loading import STAND_IN, load_model, processor_path, resolve_model_path


@pytest.fixture
def merged(tiny_clip_folder: Path, tiny_adapter_folder: Path) -> PromptCLIPModel:
    base = PromptCLIPModel.from_clip(tiny_clip_folder, image_size=(96, 32))
    return PeftModel.from_pretrained(base, tiny_adapter_folder).merge_and_unload().eval()


@pytest.fixture
def run_folder(merged: PromptCLIPModel, tiny_adapter_folder: Path, tiny_folder: Path, tmp_path: Path) -> Path:
    """What training leaves behind: `adapter/` after stage one, `model/` after stage two."""
    shutil.copytree(tiny_adapter_folder, tmp_path / "run" / "adapter")
    merged.save_pretrained(tmp_path / "run" / "model")
    PromptCLIPProcessor.from_pretrained(tiny_folder).save_pretrained(tmp_path / "run" / "model")
    return tmp_path / "run"


def embeddings(model: nn.Module, processor: PromptCLIPProcessor, pictures: list[Image.Image]) -> torch.Tensor:
    with torch.no_grad():
        output = model(**processor(images=pictures, text=["a man in red", "a woman"]))
    return torch.cat([output.text_embeds, output.image_embeds])


def test_plain_clip_folder_at_its_own_size_and_at_another(tiny_clip_folder: Path, pictures: list[Image.Image]):
    model, processor = load_model(tiny_clip_folder)
    assert type(model) is PromptCLIPModel and type(processor) is PromptCLIPProcessor
    assert not model.training and processor.image_size == (64, 64)
    tall, tall_processor = load_model(str(tiny_clip_folder), image_size=(96, 32))
    assert not tall.training and tall_processor.image_size == (96, 32)
    wanted = PromptCLIPModel.from_clip(tiny_clip_folder, image_size=(96, 32)).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in tall.state_dict().items())
    assert embeddings(tall, tall_processor, pictures).shape == (5, 24)


def test_adapter_folder_is_its_base_at_its_size_with_prompts_merged(
    tiny_adapter_folder: Path, merged: PromptCLIPModel, pictures: list[Image.Image]
):
    model, processor = load_model(tiny_adapter_folder)
    assert processor.image_size == (96, 32) and model.config.text_config.prompt_length == 3
    assert torch.equal(embeddings(model, processor, pictures), embeddings(merged, processor, pictures))


def test_run_folder_means_its_model_else_its_adapter(
    run_folder: Path, merged: PromptCLIPModel, pictures: list[Image.Image], caplog: pytest.LogCaptureFixture
):
    assert resolve_model_path(run_folder) == str(run_folder / "model")
    after_two = load_model(run_folder)
    shutil.rmtree(run_folder / "model")
    with caplog.at_level(logging.INFO):
        assert resolve_model_path(run_folder) == str(run_folder / "adapter")
    assert "has no model of stage two: the adapter of stage one is used" in caplog.text
    after_one = load_model(run_folder)
    for model, processor in (after_two, after_one):
        assert processor.image_size == (96, 32)
        assert torch.equal(embeddings(model, processor, pictures), embeddings(merged, processor, pictures))


def test_the_processor_of_an_adapter_is_its_bases(run_folder: Path, tiny_clip_folder: Path):
    assert processor_path(run_folder) == str(run_folder / "model")
    assert processor_path(run_folder / "adapter") == str(tiny_clip_folder)
    assert processor_path("alice/clip") == "alice/clip"


def test_adapter_on_an_adapter(tiny_adapter_folder: Path, tmp_path: Path, pictures: list[Image.Image]):
    base, processor = load_model(tiny_adapter_folder)
    second = get_peft_model(base, ClipPromptConfig(text_prompt_length=2, vision_prompt_length=0, init_std=1.0)).eval()
    wanted = embeddings(second, processor, pictures)
    second.save_pretrained(tmp_path, save_embedding_layers=False)  # or PEFT asks the Hub about the base model
    model, processor = load_model(tmp_path)
    assert model.config.text_config.prompt_length == 3 + 2
    assert torch.equal(embeddings(model, processor, pictures), wanted)


def test_prompts_and_processor_follow_to_another_size(run_folder: Path, pictures: list[Image.Image]):
    for folder in (run_folder / "model", run_folder / "adapter"):
        model, processor = load_model(folder, image_size=(64, 64))
        assert processor.image_size == model.config.vision_config.image_height_width == (64, 64)
        assert model.config.vision_config.prompt_length == 5
        assert embeddings(model, processor, pictures).isfinite().all()


def test_stand_in_is_found_by_name(tiny_clip_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loading, "STAND_IN_FOLDER", tiny_clip_folder)
    assert resolve_model_path(STAND_IN) == str(tiny_clip_folder)
    model, _ = load_model(STAND_IN)
    assert model.name_or_path == STAND_IN  # an adapter on it records the name, not this machine's folder


def test_names_are_recorded_as_given(tiny_clip_folder: Path):
    assert load_model(tiny_clip_folder, image_size=(96, 32))[0].name_or_path == str(tiny_clip_folder)


def test_hub_ids_are_passed_on():
    assert resolve_model_path("openai/clip-vit-base-patch16") == "openai/clip-vit-base-patch16"


# what cannot be loaded


def test_missing_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loading, "STAND_IN_FOLDER", tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"'stand-in' is not in this installation: .*nowhere has no config"):
        load_model(STAND_IN)


def test_missing_folder():
    with pytest.raises(OSError, match=r"model '\./runs/none/model' is no folder here. Give a run"):
        load_model("./runs/none/model")


def test_hub_id_that_the_hub_does_not_give():
    with pytest.raises(OSError, match=r"config.json of model 'nobody/nothing' cannot be read; give a folder.*Hub id"):
        load_model("nobody/nothing")


def test_folder_without_a_model(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"holds no model: looked for config.json and adapter_config.json"):
        load_model(tmp_path)


def change_adapter(source: Path, target: Path, **changes: object) -> Path:
    shutil.copytree(source, target)
    config = json.loads((target / "adapter_config.json").read_text())
    (target / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    return target


def test_adapter_whose_base_is_missing(tiny_adapter_folder: Path, tmp_path: Path):
    folder = change_adapter(tiny_adapter_folder, tmp_path / "a", base_model_name_or_path="/gone/clip")
    with pytest.raises(OSError, match=r"base_model_name_or_path in adapter_config.json of .*model '/gone/clip'"):
        load_model(folder)
    folder = change_adapter(tiny_adapter_folder, tmp_path / "b", base_model_name_or_path=None)
    with pytest.raises(ValueError, match=r"names no base model; write .* base_model_name_or_path"):
        load_model(folder)


def test_adapter_of_another_method(tiny_adapter_folder: Path, tmp_path: Path):
    folder = change_adapter(tiny_adapter_folder, tmp_path / "lora", peft_type="LORA")
    with pytest.raises(ValueError, match=r"peft_type .*LORA; it must be CLIP_PROMPT"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT notes that LoRA does not know our settings
        load_model(folder)


def test_adapter_with_missing_tensors(tiny_adapter_folder: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_adapter_folder, tmp_path / "holey")
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=r"holey' lacks 1 tensors, such as '.*clip_prompt_embeddings"):
        load_model(folder)


@pytest.mark.parametrize("name", modeling_prompt_clip.__all__)
def test_names_of_the_package(name: str):
    """Those that are imported on use are there, listed, and the same objects."""
    value = getattr(modeling_prompt_clip, name)
    assert name in dir(modeling_prompt_clip)
    assert value is getattr(sys.modules[value.__module__], name)


def test_other_names_are_no_attributes():
    with pytest.raises(AttributeError, match="has no attribute 'load_modle'"):
        modeling_prompt_clip.load_modle  # noqa: B018
