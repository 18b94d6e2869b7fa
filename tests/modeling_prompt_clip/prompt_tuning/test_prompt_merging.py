"""Merging prompts into the model's own slots: the same embeddings, a model that can be saved, and clean refusals."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoModel, CLIPModel

from modeling_prompt_clip import PromptCLIPModel
from prompting import adapted, differs, equals, strong, trainable

Build = Callable[[type], nn.Module]
Embed = Callable[[nn.Module], torch.Tensor]


def test_one_life_gives_the_same_embeddings_throughout(
    build: Build, embed: Embed, tmp_path: Path, tiny_adapter_folder: Path
):
    """Adapter saved -> loaded -> merged -> saved -> loaded by class -> loaded by AutoModel."""
    adapter = PeftModel.from_pretrained(build(PromptCLIPModel), tiny_adapter_folder)
    wanted = embed(adapter)
    merged = adapter.merge_and_unload(safe_merge=True)
    assert type(merged) is PromptCLIPModel
    assert torch.equal(embed(merged), wanted)
    merged.save_pretrained(tmp_path)
    for loaded in (PromptCLIPModel.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert loaded.config.text_config.prompt_length == 3 and loaded.config.vision_config.prompt_length == 5
        assert torch.equal(embed(loaded), wanted)


def test_merge_and_unmerge_in_place(build: Build, embed: Embed):
    model = adapted(build(PromptCLIPModel))
    model.add_adapter("second", strong(2, 1))
    model.base_model.set_adapter(["default", "second"])
    wanted = embed(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.merge_adapter()
    assert torch.equal(embed(model), wanted)
    assert model.base_model.model.text_model.encoder.layers[0].prompt.base_layer.weight.shape == (3 + 2, 32)
    model.unmerge_adapter()
    assert torch.equal(embed(model), wanted)
    assert len(model.base_model.model.text_model.encoder.layers[0].prompt.base_layer.weight) == 0
    model.merge_adapter(adapter_names=["second"])
    assert equals(embed(model), wanted)
    with model.disable_adapter():  # as PEFT's own methods do: disabling takes merged adapters out
        assert torch.equal(embed(model), embed(build(PromptCLIPModel)))


def test_merging_some_adapters(build: Build, embed: Embed):
    model = adapted(build(PromptCLIPModel))
    model.add_adapter("second", strong(2, 1))
    model.set_adapter("second")
    wanted = embed(model)
    model.set_adapter("default")
    merged = model.merge_and_unload(adapter_names=["second"])
    assert torch.equal(embed(merged), wanted)
    assert merged.config.text_config.prompt_length == 2


def test_merged_prompts_of_some_layers_survive(build: Build, embed: Embed, tmp_path: Path):
    model = adapted(build(PromptCLIPModel), strong(prompt_layers=[0, 2]))
    wanted = embed(model)
    merged = model.merge_and_unload()
    assert merged.config.vision_config.prompt_layers == merged.config.text_config.prompt_layers == [0, 2]
    merged.save_pretrained(tmp_path)
    assert torch.equal(embed(PromptCLIPModel.from_pretrained(tmp_path)), wanted)


def test_merged_prompts_are_buffers_that_never_train(build: Build, tmp_path: Path):
    adapted(build(PromptCLIPModel)).merge_and_unload().save_pretrained(tmp_path)
    loaded = PromptCLIPModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert trainable(loaded) and not any("prompt" in name for name in trainable(loaded))
    prompts = [value for name, value in loaded.named_buffers() if name.endswith("prompt.weight")]
    assert len(prompts) == 6 and {value.dtype for value in prompts} == {torch.bfloat16}


def test_refusal_to_merge_into_a_plain_clip_changes_nothing(build: Build, embed: Embed):
    model = adapted(build(CLIPModel))
    wanted, keys = embed(model), list(model.state_dict())
    for merge in (model.merge_and_unload, model.merge_adapter):
        with pytest.raises(ValueError, match=r"cannot merge prompts into CLIPModel.*PromptCLIPModel\.from_clip"):
            merge()
    assert list(model.state_dict()) == keys
    assert torch.equal(embed(model), wanted)


def test_prompts_that_are_not_finite_are_not_merged(build: Build):
    model = adapted(build(PromptCLIPModel))
    layer = model.base_model.model.text_model.encoder.layers[0].prompt
    layer.clip_prompt_embeddings["default"].data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="adapter 'default' holds NaN or infinite prompts"):
        model.merge_adapter(safe_merge=True)
    assert len(layer.base_layer.weight) == 0


def test_a_second_round_on_merged_prompts(build: Build, embed: Embed, tmp_path: Path):
    once = adapted(build(PromptCLIPModel)).merge_and_unload()
    base = embed(once)
    twice = adapted(once, strong(2, 1), seed=12)
    wanted = embed(twice)
    assert differs(wanted, base)
    twice.merge_adapter()
    assert torch.equal(embed(twice), wanted)
    twice.unmerge_adapter()
    with twice.disable_adapter():
        assert torch.equal(embed(twice), base)
    merged = twice.merge_and_unload()
    assert merged.config.text_config.prompt_length == 3 + 2 and merged.config.vision_config.prompt_length == 5 + 1
    merged.save_pretrained(tmp_path)
    assert torch.equal(embed(PromptCLIPModel.from_pretrained(tmp_path)), wanted)


def test_uneven_prompts_are_refused_before_anything_is_merged(build: Build, embed: Embed):
    once = adapted(build(PromptCLIPModel), strong(prompt_layers=[0])).merge_and_unload()
    base = embed(once)
    twice = adapted(once, strong(2, 2), seed=12)
    wanted = embed(twice)
    with pytest.raises(ValueError, match=r"text tower would hold \[5, 2, 2\] prompts"):
        twice.merge_and_unload()
    assert torch.equal(embed(twice), wanted)
    with twice.disable_adapter():
        assert torch.equal(embed(twice), base)


def test_lora_on_a_merged_model(build: Build, embed: Embed):
    merged = adapted(build(PromptCLIPModel)).merge_and_unload()
    wanted = embed(merged)
    lora = get_peft_model(merged, LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=True))
    assert torch.equal(embed(lora), wanted)
    assert all("lora_" in name for name in trainable(lora))
    assert equals(embed(lora.merge_and_unload()), wanted)
