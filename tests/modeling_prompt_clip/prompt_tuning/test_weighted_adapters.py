"""Adapters are combined by weights, and slots left out, as for other PEFT methods."""

from collections.abc import Callable

import pytest
import torch
from peft import get_peft_model

from modeling_prompt_clip import ClipPromptConfig, PromptCLIPModel


def _two_adapters(build: Callable, **other: object):
    model = get_peft_model(build(PromptCLIPModel), ClipPromptConfig(init_std=1.0), adapter_name="one")
    model.add_adapter("two", ClipPromptConfig(**{"init_std": 1.0, **other}))
    return model


@torch.no_grad()
def test_prompts_are_the_weighted_sum(build: Callable, embed: Callable):
    model = _two_adapters(build)
    model.base_model.add_weighted_adapter(["one", "two"], [0.25, -2], "mixed")
    prompts = model.base_model.model.text_model.encoder.layers[1].prompt.clip_prompt_embeddings
    torch.testing.assert_close(prompts["mixed"], 0.25 * prompts["one"] - 2 * prompts["two"], rtol=0, atol=1e-6)
    assert model.active_adapters == ["one"]
    model.base_model.add_weighted_adapter(["two"], [1.0], "twin")
    found = {}
    for name in ("two", "twin", "one"):
        model.set_adapter(name)
        found[name] = embed(model)
    assert torch.equal(found["two"], found["twin"]) and not torch.equal(found["two"], found["one"])


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ((["one"], [1], "new", "svd"), "combination_type is 'svd'"),
        ((["one", "two"], [1], "new"), "2 adapters and 1 weights"),
        (([], [], "new"), "0 adapters"),
        ((["one"], [1], "two"), "adapter 'two' exists"),
        ((["one", "three"], [1, 1], "new"), "'three' is not loaded; there are one, two"),
        ((["one", "two"], [1, 1], "new"), "'two' is coupled, or has other lengths"),
    ],
)
def test_what_cannot_be_combined(build: Callable, arguments: tuple, fault: str):
    model = _two_adapters(build, text_prompt_length=2)
    with pytest.raises(ValueError, match=fault):
        model.base_model.add_weighted_adapter(*arguments)
    assert set(model.peft_config) == {"one", "two"}


def test_excluded_slots_have_no_prompts(build: Callable):
    config = ClipPromptConfig(exclude_modules=["text_model.encoder.layers.0.prompt"])
    model = get_peft_model(build(PromptCLIPModel), config)
    prompted = {name for name, _ in model.named_parameters() if "clip_prompt_embeddings" in name}
    assert prompted and not any("text_model.encoder.layers.0." in name for name in prompted)
    assert any("vision_model.encoder.layers.0." in name for name in prompted)
