"""The PEFT method CLIP_PROMPT: PEFT's whole surface on a plain CLIPModel and on a PromptCLIPModel."""

import copy
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import PeftType
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPModel

from modeling_prompt_clip import ClipPromptConfig, ClipPromptModel, PromptCLIPConfig, PromptCLIPModel
from prompting import adapted, differs, equals, strong, trainable

BOTH_BASES = pytest.mark.parametrize("base_class", [CLIPModel, PromptCLIPModel])

Build = Callable[[type], nn.Module]
Embed = Callable[[nn.Module], torch.Tensor]


# wrapping and training


@BOTH_BASES
def test_only_prompts_are_trainable_and_only_they_get_gradients(
    build: Build, base_class: type, input_ids: torch.Tensor, capsys: pytest.CaptureFixture
):
    model = adapted(build(base_class)).train()
    assert isinstance(model, PeftModel) and isinstance(model.base_model, ClipPromptModel)
    model.print_trainable_parameters()
    count = 3 * (3 * 32 + 5 * 48)
    assert f"trainable params: {count:,}" in capsys.readouterr().out
    assert len(trainable(model)) == 6 and all("clip_prompt_embeddings" in name for name in trainable(model))

    height, width = model.peft_config["default"].image_size
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=0.1)
    model(input_ids=input_ids, pixel_values=torch.randn(4, 3, height, width), return_loss=True).loss.backward()
    assert {name for name, value in model.named_parameters() if value.grad is not None} == trainable(model)
    assert all(value.grad.abs().max() > 0 for value in model.parameters() if value.requires_grad)
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == trainable(model)


@BOTH_BASES
def test_wrapping_warns_of_nothing_of_ours(build: Build, base_class: type):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # PEFT 0.21 reads an attribute that transformers 5 deprecates, on every model
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        adapted(build(base_class)).add_adapter("second", strong())


@BOTH_BASES
def test_disabled_adapter_equals_plain_clip_bit_for_bit(
    build: Build, embed: Embed, tiny_clip_folder: Path, base_class: type
):
    plain = CLIPModel.from_pretrained(tiny_clip_folder) if base_class is CLIPModel else build(base_class)
    wanted = embed(plain)
    model = adapted(build(base_class))
    with_prompts = embed(model)
    assert differs(with_prompts, wanted)
    with model.disable_adapter():
        assert torch.equal(embed(model), wanted)
    assert torch.equal(embed(model), with_prompts)


def test_disabled_adapter_equals_plain_clip_on_a_square_prompt_clip(
    tiny_clip_folder: Path, input_ids: torch.Tensor, square_pixel_values: torch.Tensor
):
    plain = CLIPModel.from_pretrained(tiny_clip_folder)
    model = adapted(PromptCLIPModel.from_clip(tiny_clip_folder, image_size=None))
    with model.disable_adapter(), torch.no_grad():
        got, wanted = (each(input_ids=input_ids, pixel_values=square_pixel_values) for each in (model, plain))
    assert torch.equal(got.text_embeds, wanted.text_embeds) and torch.equal(got.image_embeds, wanted.image_embeds)


@BOTH_BASES
def test_a_base_with_prompts_gains_no_key_but_the_adapters(build: Build, base_class: type):
    keys = set(build(base_class).state_dict())
    wrapped = {name.removeprefix("base_model.model.") for name in adapted(build(base_class)).state_dict()}
    assert {name for name in wrapped if "clip_prompt_embeddings" not in name} == keys


def test_normal_prompts_have_the_configured_spread(build: Build):
    model = adapted(build(PromptCLIPModel), ClipPromptConfig(text_prompt_length=400, init_std=0.02))
    prompts = dict(model.named_parameters())
    spread = {value.std().item() for name, value in prompts.items() if "text_model" in name and "clip_prompt" in name}
    assert len(spread) == 3 and all(abs(std - 0.02) < 0.002 for std in spread)


@pytest.mark.parametrize(("text", "vision"), [(2, 0), (0, 2)])
def test_one_tower_alone(build: Build, embed: Embed, text: int, vision: int):
    plain = embed(build(PromptCLIPModel))
    got = embed(adapted(build(PromptCLIPModel), strong(text, vision)))
    assert differs(got[:4], plain[:4]) == (text > 0)
    assert differs(got[4:], plain[4:]) == (vision > 0)


# several adapters


@BOTH_BASES
def test_several_adapters(build: Build, embed: Embed, base_class: type):
    model = adapted(build(base_class))
    first = embed(model)
    model.add_adapter("second", strong(2, 1, prompt_layers=[1, 2]))
    assert torch.equal(embed(model), first) and not any("second" in name for name in trainable(model))
    model.set_adapter("second")
    second = embed(model)
    assert differs(second, first)
    assert all("second" in name for name in trainable(model)) and len(trainable(model)) == 4
    model.base_model.set_adapter(["default", "second"])
    both = embed(model)
    assert differs(both, first) and differs(both, second)
    model.base_model.set_adapter(["second", "default"])
    assert equals(embed(model), both)
    model.set_adapter("default")
    assert torch.equal(embed(model), first)
    model.delete_adapter("second")
    assert list(model.peft_config) == ["default"]
    assert torch.equal(embed(model), first)


@BOTH_BASES
def test_unload_gives_the_base_back(build: Build, embed: Embed, base_class: type):
    wanted = embed(build(base_class))
    base = adapted(build(base_class)).unload()
    assert type(base) is base_class
    assert not any(isinstance(module, BaseTunerLayer) for module in base.modules())
    assert torch.equal(embed(base), wanted)


@BOTH_BASES
def test_unloaded_base_saves_as_itself(build: Build, base_class: type, tmp_path: Path):
    adapted(build(base_class)).unload().save_pretrained(tmp_path)
    assert set(load_file(tmp_path / "model.safetensors")) == set(build(base_class).state_dict())


# saving and loading


@BOTH_BASES
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_saved_adapters_load_again(
    build: Build, embed: Embed, base_class: type, low_cpu_mem_usage: bool, tmp_path: Path, tiny_clip_folder: Path
):
    model = adapted(build(base_class))
    model.add_adapter("second", strong(2, 1, prompt_layers=[0]))
    first = embed(model)
    model.set_adapter("second")
    second = embed(model)
    model.set_adapter("default")
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors", "second"}

    config = PeftConfig.from_pretrained(tmp_path)
    assert type(config) is ClipPromptConfig and config.peft_type == "CLIP_PROMPT" and config.inference_mode
    assert config.base_model_name_or_path == str(tiny_clip_folder)
    assert config.image_size == ([64, 64] if base_class is CLIPModel else [96, 32])
    assert set(load_file(tmp_path / "adapter_model.safetensors")) == {
        f"base_model.model.{tower}.encoder.layers.{layer}.prompt.clip_prompt_embeddings"
        for tower in ("text_model", "vision_model")
        for layer in range(3)
    }

    loaded = PeftModel.from_pretrained(build(base_class), tmp_path, low_cpu_mem_usage=low_cpu_mem_usage)
    assert torch.equal(embed(loaded), first)
    assert not trainable(loaded) and not any(value.is_meta for value in loaded.parameters())
    loaded.load_adapter(tmp_path / "second", adapter_name="second", low_cpu_mem_usage=low_cpu_mem_usage)
    loaded.set_adapter("second")
    assert torch.equal(embed(loaded), second)
    with loaded.disable_adapter():
        assert torch.equal(embed(loaded), embed(build(base_class)))


def test_loaded_adapter_can_train_on(build: Build, tiny_adapter_folder: Path):
    model = PeftModel.from_pretrained(build(PromptCLIPModel), tiny_adapter_folder, is_trainable=True)
    assert len(trainable(model)) == 6


def test_a_fresh_process_loads_adapter_and_merged_model(
    build: Build, tmp_path: Path, tiny_adapter_folder: Path, pixel_values: torch.Tensor
):
    merged = PeftModel.from_pretrained(build(PromptCLIPModel), tiny_adapter_folder).merge_and_unload()
    merged.save_pretrained(tmp_path / "model")
    torch.save(pixel_values, tmp_path / "pixels.pt")
    torch.save(merged.get_image_features(pixel_values).pooler_output, tmp_path / "wanted.pt")
    script = f"""
import torch
from peft import PeftConfig, PeftModel
from modeling_prompt_clip import PromptCLIPModel
torch.set_num_threads(1)
pixels, wanted = torch.load({str(tmp_path / "pixels.pt")!r}), torch.load({str(tmp_path / "wanted.pt")!r})
config = PeftConfig.from_pretrained({str(tiny_adapter_folder)!r})
base = PromptCLIPModel.from_clip(config.base_model_name_or_path, (96, 32))
adapter = PeftModel.from_pretrained(base, {str(tiny_adapter_folder)!r})
for model in (adapter, PromptCLIPModel.from_pretrained({str(tmp_path / "model")!r})):
    torch.testing.assert_close(model.get_image_features(pixels).pooler_output, wanted)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_adapter_of_a_vit_b_16_is_below_one_megabyte(tmp_path: Path):
    """Four prompts in each of twelve layers of both towers; the base model is never allocated."""
    config = PromptCLIPConfig(vision_config={"image_size": [384, 128], "patch_size": 16})
    with torch.device("meta"):
        model = get_peft_model(PromptCLIPModel(config), ClipPromptConfig())
    for module in model.modules():
        if isinstance(module, nn.ParameterDict):
            module.to_empty(device="cpu")
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert sum(tensor.numel() for tensor in tensors.values()) == 12 * 4 * (512 + 768)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 1_000_000


# other doors


@BOTH_BASES
def test_inject_adapter_in_model(build: Build, embed: Embed, base_class: type):
    base = build(base_class)
    torch.manual_seed(11)
    injected = inject_adapter_in_model(strong(), base)
    assert type(injected) is base_class
    assert torch.equal(embed(injected), embed(adapted(build(base_class))))


@BOTH_BASES
def test_add_adapter_of_transformers(build: Build, embed: Embed, base_class: type):
    model = build(base_class)
    plain = embed(model)
    torch.manual_seed(11)
    model.add_adapter(strong())
    assert torch.equal(embed(model), embed(adapted(build(base_class))))
    model.disable_adapters()
    assert torch.equal(embed(model), plain)


def test_modules_to_save(build: Build, embed: Embed, tmp_path: Path):
    model = adapted(build(PromptCLIPModel), strong(modules_to_save=["visual_projection"]))
    assert any("visual_projection" in name for name in trainable(model))
    nn.init.normal_(model.base_model.model.visual_projection.modules_to_save["default"].weight)
    wanted = embed(model)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(build(PromptCLIPModel), tmp_path)
    assert torch.equal(embed(loaded), wanted)
    assert torch.equal(embed(loaded.merge_and_unload()), wanted)


def test_copies_and_pickles_are_equal(build: Build, embed: Embed):
    model = adapted(build(PromptCLIPModel))
    wanted = embed(model)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(embed(twin), wanted)
        assert twin.peft_config["default"].peft_type is PeftType("CLIP_PROMPT")


def test_bfloat16_base_with_float32_prompts(build: Build, input_ids: torch.Tensor, pixel_values: torch.Tensor):
    model = adapted(build(PromptCLIPModel).bfloat16()).train()
    assert {value.dtype for name, value in model.named_parameters() if name in trainable(model)} == {torch.float32}
    output = model(input_ids=input_ids, pixel_values=pixel_values, return_loss=True)
    assert output.text_embeds.dtype == torch.float32
    output.loss.backward()
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.requires_grad)
    slot = model.merge_and_unload().text_model.encoder.layers[0].prompt
    assert slot.weight.dtype == torch.bfloat16


def test_gradient_checkpointing_gives_the_same_gradients(
    build: Build, input_ids: torch.Tensor, pixel_values: torch.Tensor
):
    gradients = []
    for checkpointing in (False, True):
        model = adapted(build(PromptCLIPModel)).train()
        if checkpointing:
            model.base_model.model.gradient_checkpointing_enable()
        model(input_ids=input_ids, pixel_values=pixel_values, return_loss=True).loss.backward()
        gradients.append([value.grad for value in model.parameters() if value.requires_grad])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
