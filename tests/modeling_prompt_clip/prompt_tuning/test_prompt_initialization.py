"""How prompts start: a normal draw, or hidden states of the frozen model."""

from collections.abc import Callable

import pytest
import torch
from peft import get_peft_model
from torch import nn
from transformers import CLIPModel

from modeling_prompt_clip import ClipPromptConfig, PromptCLIPModel
from prompting import adapted, strong, trainable

BOTH_BASES = pytest.mark.parametrize("base_class", [CLIPModel, PromptCLIPModel])

Build = Callable[[type], nn.Module]
Embed = Callable[[nn.Module], torch.Tensor]


@BOTH_BASES
def test_activations_are_the_pooled_hidden_states(
    build: Build, base_class: type, pixel_values: torch.Tensor, square_pixel_values: torch.Tensor
):
    images = square_pixel_values if base_class is CLIPModel else pixel_values
    phrase = torch.tensor([[518, 5, 6, 7, 8, 9, 519]])  # six states after the start token
    plain = build(base_class)
    model = get_peft_model(build(base_class), strong(3, 2, prompt_layers=[0, 2], prompt_init="activations")).train()
    model.peft_config["default"].init_std = 1e-6
    base = {name: value.clone() for name, value in model.state_dict().items() if "clip_prompt" not in name}
    model.initialize_from_activations(phrase, images)
    assert model.training and model.base_model.model.text_model.training
    assert all(torch.equal(model.state_dict()[name], value) for name, value in base.items())
    assert len(trainable(model)) == 4

    with torch.no_grad():
        text = plain.text_model(phrase, output_hidden_states=True).hidden_states
        vision = plain.vision_model(images, output_hidden_states=True).hidden_states
    patches = images.shape[2] // 16 * images.shape[3] // 16
    for layer in (0, 2):
        slots = [tower.encoder.layers[layer].prompt for tower in (model.text_model, model.vision_model)]
        prompts = [slot.clip_prompt_embeddings["default"] for slot in slots]
        for index in range(3):
            wanted = (text[layer][0, 1 + 2 * index] + text[layer][0, 2 + 2 * index]) / 2
            assert torch.allclose(prompts[0][index], wanted, atol=1e-4)
        for index in range(2):
            stripe = slice(1 + index * patches // 2, 1 + (index + 1) * patches // 2)
            wanted = torch.stack([image[stripe].mean(0) for image in vision[layer]]).mean(0)
            assert torch.allclose(prompts[1][index], wanted, atol=1e-4)


def test_activations_start_no_two_prompts_alike(build: Build, pixel_values: torch.Tensor):
    """Even where a phrase has fewer tokens than there are prompts."""
    config = ClipPromptConfig(text_prompt_length=8, vision_prompt_length=8, prompt_init="activations")
    model = get_peft_model(build(PromptCLIPModel), config)
    model.initialize_from_activations(torch.tensor([[518, 5, 519]]), pixel_values)
    for name, prompts in model.named_parameters():
        if "clip_prompt" in name:
            assert torch.pdist(prompts.detach()).min() > 1e-3, name


def test_activations_of_a_second_adapter_leave_the_first_alone(build: Build, embed: Embed, pixel_values: torch.Tensor):
    model = adapted(build(PromptCLIPModel))
    wanted = embed(model)
    model.add_adapter("second", strong(prompt_layers=[1]))
    model.initialize_from_activations(torch.tensor([[518, 5, 6, 519]]), pixel_values, adapter_name="second")
    assert torch.equal(embed(model), wanted)


def test_activations_are_the_normal_draw_until_asked_for(build: Build, embed: Embed):
    normal, waiting = (adapted(build(PromptCLIPModel), strong(prompt_init=init)) for init in ("normal", "activations"))
    assert torch.equal(embed(normal), embed(waiting))


def test_activations_inside_disable_adapter_leave_it_disabled(build: Build, embed: Embed, pixel_values: torch.Tensor):
    model = get_peft_model(build(PromptCLIPModel), ClipPromptConfig())
    base = embed(build(PromptCLIPModel))
    with model.disable_adapter():
        model.base_model.initialize_from_activations(torch.tensor([[518, 5, 519]]), pixel_values)
        assert torch.equal(embed(model), base)
    assert not torch.equal(embed(model), base)
