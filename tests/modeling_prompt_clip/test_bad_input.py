"""Wrong models, checkpoints and settings: each error names the field or file, the value, the rule and the remedy."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import BertConfig, CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from modeling_prompt_clip import ClipPromptConfig, PromptCLIPConfig, PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.configuration_prompt_clip import PromptCLIPTextConfig, PromptCLIPVisionConfig

TINY_TEXT = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
TINY_TEXT |= {"num_attention_heads": 2}


@pytest.fixture(params=["text_tower", "bert"])
def foreign_folder(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A model folder without a vision tower, and its model type."""
    if request.param == "text_tower":
        CLIPTextModel(CLIPTextConfig(**TINY_TEXT)).save_pretrained(tmp_path)
        return tmp_path, "clip_text_model"
    BertConfig().save_pretrained(tmp_path)
    return tmp_path, "bert"


@pytest.mark.parametrize(
    "load", [PromptCLIPModel.from_clip, PromptCLIPModel.from_pretrained, PromptCLIPProcessor.from_clip]
)
def test_base_model_without_a_vision_tower(foreign_folder: tuple[Path, str], load):
    folder, model_type = foreign_folder
    told = f"base model '{folder}' has model_type '{model_type}' and has no vision tower; give a CLIP checkpoint"
    with pytest.raises(ValueError, match=re.escape(told)):
        load(folder)


def test_base_model_without_a_text_tower(tmp_path: Path):
    CLIPVisionConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has model_type 'clip_vision_model'.*both towers"):
        PromptCLIPModel.from_clip(tmp_path)


def test_adapter_on_one_tower_alone():
    config = CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    with pytest.raises(ValueError, match=r"model_type 'clip_vision_model'\) has no text_config; CLIP_PROMPT needs"):
        get_peft_model(CLIPVisionModel(config), ClipPromptConfig())


def test_missing_folder(tmp_path: Path):
    for load in (PromptCLIPModel.from_clip, PromptCLIPProcessor.from_clip):
        with pytest.raises(OSError, match=r"config.json of model '.*nowhere' cannot be read; give a folder that"):
            load(tmp_path / "nowhere")
        with pytest.raises(OSError, match=r"has no config.json; give a folder that has one"):
            load(tmp_path)


def test_damaged_files(tiny_clip_folder: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_clip_folder, tmp_path / "clip")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(OSError, match=r"weights of '.*clip' are damaged \(.*\); save or download them again"):
        PromptCLIPModel.from_clip(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"no file named model.safetensors.* found in directory .*clip"):
        PromptCLIPModel.from_clip(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(OSError, match=r"config.json of model '.*clip' cannot be read"):
        PromptCLIPModel.from_clip(folder)


@pytest.mark.parametrize("change", ["missing", "left_over"])
def test_checkpoint_with_other_tensors(tiny_clip_folder: Path, tmp_path: Path, change: str):
    folder = shutil.copytree(tiny_clip_folder, tmp_path / "clip")
    tensors = load_file(folder / "model.safetensors")
    if change == "missing":
        del tensors["visual_projection.weight"]
        told = r"clip' lacks 1 tensors, such as 'visual_projection.weight'; give a complete one"
    else:
        tensors["decoder.weight"] = torch.zeros(2)
        told = r"clip' holds, beyond the model's own, 1 tensors, such as 'decoder.weight'"
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=told):
        PromptCLIPModel.from_clip(folder, image_size=None)


@pytest.mark.parametrize("configured", [True, False], ids=["tokenizer_config", "no_tokenizer_config"])
def test_missing_tokenizer(tiny_clip_folder: Path, tmp_path: Path, configured: bool):
    """transformers may make an empty tokenizer where there is none."""
    for name in ("config.json", *(["tokenizer_config.json"] if configured else [])):
        shutil.copy(tiny_clip_folder / name, tmp_path)
    with pytest.raises((OSError, ValueError), match=r"tokenizer.*put .* beside .*config.json"):
        PromptCLIPProcessor.from_clip(tmp_path)


def test_tokenizer_of_another_model(tiny_clip_folder: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_clip_folder, tmp_path / "clip")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["vocab_size"] = 519
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"has 520 tokens, its text tower takes 519 \(text_config.vocab_size\)"):
        PromptCLIPProcessor.from_clip(folder)


@pytest.mark.parametrize(
    ("image_size", "told"),
    [
        ((96, 40), r"image_size \[96, 40\] has width 40, which the patch size 16 does not divide; take 32 or 48"),
        ((8, 32), r"image_size \[8, 32\] has height 8, which the patch size 16 does not divide; take 16$"),
        ((96, 32, 3), r"image_size is \(96, 32, 3\); give \[height, width\] in pixels"),
        ((96, -32), r"image_size is \(96, -32\); give \[height, width\]"),
        ((96.0, 32), r"image_size is \(96.0, 32\); give \[height, width\]"),
        ("384", r"image_size is '384'; give \[height, width\]"),
    ],
)
def test_image_size_that_patches_do_not_fill(tiny_clip_folder: Path, image_size: object, told: str):
    with pytest.raises(ValueError, match=told):
        PromptCLIPModel.from_clip(tiny_clip_folder, image_size=image_size)


def test_invalid_config_file(tiny_clip_folder: Path, tmp_path: Path):
    config = json.loads((tiny_clip_folder / "config.json").read_text())
    config["vision_config"]["patch_size"] = 15
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"(?s)config.json of base model .* has height 64, which the patch size 15"):
        PromptCLIPModel.from_clip(tmp_path)


@pytest.mark.parametrize(
    ("config_class", "settings", "told"),
    [
        (PromptCLIPTextConfig, {"prompt_length": -2}, "prompt_length of the text tower is -2; it must be 0"),
        (PromptCLIPVisionConfig, {"prompt_length": -1}, "prompt_length of the vision tower is -1; it must be 0"),
        (PromptCLIPTextConfig, {"prompt_length": "4"}, "'prompt_length' expected int, got str"),
        (
            PromptCLIPTextConfig,
            {"prompt_length": 1, "prompt_layers": [12]},
            "layer 12, but the text tower has layers 0 to",
        ),
        (PromptCLIPVisionConfig, {"prompt_length": 1, "prompt_layers": [-1]}, "layer -1, but the vision tower"),
        (PromptCLIPTextConfig, {"prompt_length": 1, "prompt_layers": [1, 1]}, "give each layer once"),
        (PromptCLIPTextConfig, {"prompt_length": 1, "prompt_layers": []}, "None to prompt all layers"),
        (PromptCLIPVisionConfig, {"image_size": [384, 130], "patch_size": 16}, "width 130, which the patch size 16"),
        (PromptCLIPVisionConfig, {"image_size": [384]}, r"image_size is \[384\]; give \[height, width\]"),
    ],
)
def test_config_values_out_of_range(config_class: type, settings: dict, told: str):
    with pytest.raises(Exception, match=told):  # transformers' configs raise their own StrictDataclass errors
        config_class(**settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"text_prompt_length": -1}, "text_prompt_length is -1; it must be 0"),
        ({"vision_prompt_length": -3}, "vision_prompt_length is -3; it must be 0"),
        ({"text_prompt_length": 0, "vision_prompt_length": 0}, "both 0; prompt at least one tower"),
        ({"prompt_init": "random"}, "prompt_init is 'random'; it must be 'normal' or 'activations'"),
        ({"init_std": 0.0}, "init_std is 0.0; it must be above 0"),
        ({"init_std": float("nan")}, "init_std is nan; it must be above 0"),
    ],
)
def test_adapter_values_out_of_range(settings: dict, told: str):
    with pytest.raises(ValueError, match=told):
        ClipPromptConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"prompt_layers": [0, 3]}, "names layer 3, but the text tower has layers 0 to 2; leave it out, or set the"),
        ({"prompt_layers": [-1]}, "names layer -1, but the text tower has layers 0 to 2"),
        ({"prompt_layers": [1, 1]}, r"prompt_layers is \[1, 1\]; give each layer once"),
        ({"prompt_layers": []}, r"prompt_layers is \[\]; give each layer once, or None to prompt all layers"),
        (
            {"image_size": [384, 128]},
            r"image_size of the adapter is 384x128, that of the base model 96x32; .*image_size=\(384, 128\)\)",
        ),
    ],
)
def test_adapter_that_does_not_fit_leaves_the_model_alone(tiny_folder: Path, settings: dict, told: str):
    model = PromptCLIPModel.from_pretrained(tiny_folder)
    modules = [type(module) for module in model.modules()]
    with pytest.raises(ValueError, match=told):
        get_peft_model(model, ClipPromptConfig(**settings))
    assert [type(module) for module in model.modules()] == modules


def test_adapter_for_another_image_size(tiny_clip_folder: Path, tiny_adapter_folder: Path):
    square = PromptCLIPModel.from_clip(tiny_clip_folder, image_size=None)
    with pytest.raises(ValueError, match=r"image_size of the adapter is 96x32, that of the base model 64x64"):
        PeftModel.from_pretrained(square, tiny_adapter_folder)


def test_vision_layers_alone_may_exceed_the_text_tower(tiny_folder: Path):
    """A layer must exist only in the towers that are prompted."""
    config = PromptCLIPConfig.from_pretrained(tiny_folder)
    config.text_config.num_hidden_layers = 1
    model = PromptCLIPModel(config)
    wrapped = get_peft_model(model, ClipPromptConfig(text_prompt_length=0, prompt_layers=[2]))
    assert sum(value.requires_grad for value in wrapped.parameters()) == 1


def test_forward_without_input(tiny_folder: Path, input_ids: torch.Tensor):
    model = PromptCLIPModel.from_pretrained(tiny_folder)
    with pytest.raises(ValueError, match="neither input_ids nor pixel_values was given; pass captions"):
        model()
    with pytest.raises(ValueError, match="return_loss=True compares captions with images; pass both"):
        model(input_ids=input_ids, return_loss=True)
