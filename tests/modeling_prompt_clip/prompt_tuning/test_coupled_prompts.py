"""Coupled prompts: vision prompts of a layer are a learned projection of its text prompts; PEFT's whole surface."""

import copy
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPModel

from modeling_prompt_clip import ClipPromptConfig, PromptCLIPConfig, PromptCLIPModel
from prompting import adapted, differs, equals, strong, trainable

BOTH_BASES = pytest.mark.parametrize("base_class", [CLIPModel, PromptCLIPModel])

Build = Callable[[type], nn.Module]
Embed = Callable[[nn.Module], torch.Tensor]


def coupled(**settings: object) -> ClipPromptConfig:
    return strong(3, 3, coupled_prompts=True, **settings)


def slots(model: nn.Module, tower: str) -> list[nn.Module]:
    return [layer.prompt for layer in getattr(model.base_model.model, f"{tower}_model").encoder.layers]


@BOTH_BASES
def test_they_equal_plain_prompts_that_hold_the_projections(build: Build, embed: Embed, base_class: type):
    model, plain = adapted(build(base_class), coupled()), adapted(build(base_class), strong(3, 3))
    for texts, visions, plain_texts, plain_visions in zip(
        *(slots(each, tower) for each in (model, plain) for tower in ("text", "vision")), strict=True
    ):
        prompts, projection = texts.clip_prompt_embeddings["default"], visions.clip_prompt_projections["default"]
        nn.init.normal_(projection.bias)
        assert not visions.clip_prompt_embeddings and not texts.clip_prompt_projections
        plain_texts.clip_prompt_embeddings["default"].data = prompts.data.clone()
        by_hand = torch.stack([projection.weight @ prompt + projection.bias for prompt in prompts])
        plain_visions.clip_prompt_embeddings["default"].data = by_hand.detach()
    assert equals(embed(model), embed(plain))


def test_vision_prompts_start_with_the_spread_of_text_prompts(build: Build):
    model = adapted(build(PromptCLIPModel), strong(400, 400, coupled_prompts=True))
    for slot in slots(model, "vision"):
        assert abs(slot.prompts("default").std().item() - 1) < 0.15


@BOTH_BASES
def test_images_train_text_prompts_and_projections_and_captions_do_not(
    build: Build, base_class: type, input_ids: torch.Tensor, pixel_values: torch.Tensor
):
    model = adapted(build(base_class), coupled()).train()
    names = trainable(model)
    assert len(names) == 3 + 2 * 3 and all("clip_prompt_" in name for name in names)
    height, width = model.peft_config["default"].image_size
    model.get_image_features(torch.randn(4, 3, height, width)).pooler_output.square().sum().backward()
    assert {name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()} == names
    model.zero_grad(set_to_none=True)
    model.get_text_features(input_ids).pooler_output.square().sum().backward()
    with_gradient = {name for name, value in model.named_parameters() if value.grad is not None}
    assert with_gradient == {name for name in names if "clip_prompt_embeddings" in name}


def test_autocast_leaves_the_projection_in_float32(build: Build):
    slot = slots(adapted(build(PromptCLIPModel), coupled()), "vision")[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = slot.prompts("default")
    assert torch.equal(rounded, slot.prompts("default"))


@BOTH_BASES
def test_disabled_they_leave_the_base_and_enabled_they_come_back(build: Build, embed: Embed, base_class: type):
    base, model = embed(build(base_class)), adapted(build(base_class), coupled())
    wanted = embed(model)
    assert differs(wanted[:4], base[:4]) and differs(wanted[4:], base[4:])
    with model.disable_adapter():
        assert torch.equal(embed(model), base)
    assert torch.equal(embed(model), wanted)
    assert torch.equal(embed(model.unload()), base)


@BOTH_BASES
def test_beside_plain_adapters_and_others_of_their_kind(build: Build, embed: Embed, base_class: type):
    model = adapted(build(base_class), strong(2, 1))
    plain = embed(model)
    for name in ("first", "second"):
        model.add_adapter(name, coupled())
    assert torch.equal(embed(model), plain) and len(trainable(model)) == 6
    model.set_adapter("first")
    first = embed(model)
    assert differs(first, plain) and len(trainable(model)) == 9 and all("first" in name for name in trainable(model))
    model.base_model.set_adapter(["default", "second"])
    assert differs(embed(model), plain) and differs(embed(model), first)
    model.delete_adapter("second")
    model.set_adapter("first")
    assert torch.equal(embed(model), first)
    model.set_adapter("default")
    assert torch.equal(embed(model), plain)


@BOTH_BASES
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_saved_ones_load_again(build: Build, embed: Embed, base_class: type, low_cpu_mem_usage: bool, tmp_path: Path):
    model = adapted(build(base_class), coupled(prompt_layers=[0, 2]))
    wanted = embed(model)
    model.save_pretrained(tmp_path)
    ends = ["clip_prompt_embeddings", "clip_prompt_projections.bias", "clip_prompt_projections.weight"]
    names = load_file(tmp_path / "adapter_model.safetensors")
    assert sorted(".".join(name.split("prompt.")[1:]) for name in names) == sorted(2 * ends)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["coupled_prompts"] is True
    loaded = PeftModel.from_pretrained(build(base_class), tmp_path, low_cpu_mem_usage=low_cpu_mem_usage)
    assert torch.equal(embed(loaded), wanted) and not any(value.is_meta for value in loaded.parameters())
    assert not trainable(loaded)


def test_merged_they_are_fixed_prompts_like_any_other(build: Build, embed: Embed, tmp_path: Path):
    model = adapted(build(PromptCLIPModel), coupled())
    wanted = embed(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.merge_adapter()
    assert torch.equal(embed(model), wanted)
    model.unmerge_adapter()
    assert torch.equal(embed(model), wanted)
    merged = model.merge_and_unload(safe_merge=True)
    assert type(merged) is PromptCLIPModel and torch.equal(embed(merged), wanted)
    assert merged.config.text_config.prompt_length == merged.config.vision_config.prompt_length == 3
    merged.save_pretrained(tmp_path)
    assert not any("projections" in name for name in load_file(tmp_path / "model.safetensors"))
    assert torch.equal(embed(PromptCLIPModel.from_pretrained(tmp_path)), wanted)


def test_projections_that_are_not_finite_are_not_merged(build: Build):
    model = adapted(build(PromptCLIPModel), coupled())
    slots(model, "vision")[0].clip_prompt_projections["default"].bias.data[0] = torch.nan
    with pytest.raises(ValueError, match="adapter 'default' holds NaN or infinite prompts"):
        model.merge_adapter(safe_merge=True)


def test_copies_and_pickles_are_equal_and_of_their_own(build: Build, embed: Embed):
    model = adapted(build(PromptCLIPModel), coupled())
    wanted = embed(model)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(embed(twin), wanted)
        for prompts in slots(twin, "text"):
            nn.init.zeros_(prompts.clip_prompt_embeddings["default"])
        assert differs(embed(twin)[4:], wanted[4:])
        assert torch.equal(embed(model), wanted)


@pytest.mark.parametrize(("text", "vision"), [(2, 4), (4, 2)])
def test_of_towers_of_different_depth_the_layers_in_common_are_prompted(text: int, vision: int):
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
    config = PromptCLIPConfig(
        text_config=sizes | {"num_hidden_layers": text, "vocab_size": 9},
        vision_config=sizes | {"hidden_size": 48, "num_hidden_layers": vision, "image_size": 32, "patch_size": 16},
    )
    model = get_peft_model(PromptCLIPModel(config), coupled())
    assert model.peft_config["default"].prompt_layers == [0, 1]
    merged = model.merge_and_unload().config
    deep, shallow = sorted((merged.text_config, merged.vision_config), key=lambda tower: -tower.num_hidden_layers)
    assert (deep.prompt_layers, shallow.prompt_layers) == ([0, 1], None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vision_prompt_length": 5}, "text_prompt_length is 3 and vision_prompt_length 5; .* the same length"),
        ({"text_prompt_length": 0}, "text_prompt_length is 0 and vision_prompt_length 3"),
        ({"prompt_init": "activations"}, "cannot start from images; set prompt_init to 'normal'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict, message: str):
    with pytest.raises(
        ValueError, match=f"coupled_prompts is set, but .*{message}|coupled_prompts is set .*{message}"
    ):
        ClipPromptConfig(**({"text_prompt_length": 3, "vision_prompt_length": 3, "coupled_prompts": True} | settings))


def test_a_layer_that_one_tower_lacks_is_refused(build: Build):
    with pytest.raises(ValueError, match="prompt_layers names layer 3"):
        adapted(build(PromptCLIPModel), coupled(prompt_layers=[0, 3]))


def test_activations_are_refused(build: Build, pixel_values: torch.Tensor):
    model = adapted(build(PromptCLIPModel), coupled())
    with pytest.raises(ValueError, match="adapter 'default' has coupled_prompts"):
        model.initialize_from_activations(torch.tensor([[518, 5, 519]]), pixel_values)
