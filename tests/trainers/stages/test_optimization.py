import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import CLIPConfig, CLIPModel

from modeling_prompt_clip import PromptCLIPConfig, PromptCLIPModel
from trainers.stages.optimization import build_optimizer, build_schedule, parameter_groups, warmup_cosine

torch.set_num_threads(1)
SETTINGS = {"learning_rate": 1e-3, "weight_decay": 0.02}
TINY_TOWER = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def clip():
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**sizes, "image_size": 8, "patch_size": 4}
    return CLIPModel(CLIPConfig(text_config={**sizes, "vocab_size": 9}, vision_config=vision, projection_dim=8))


@pytest.mark.parametrize(
    ("name", "shape", "group"),
    [
        ("model.text_model.encoder.layers.0.self_attn.q_proj.weight", (4, 4), "weights"),
        ("model.vision_model.embeddings.patch_embedding.weight", (4, 3, 2, 2), "weights"),
        ("model.text_projection.weight", (4, 4), "weights"),
        ("model.text_model.encoder.layers.0.self_attn.q_proj.bias", (4,), "biases"),
        ("model.vision_model.pre_layrnorm.bias", (4,), "biases"),
        ("model.vision_model.pre_layrnorm.weight", (4,), "undecayed"),
        ("model.logit_scale", (), "undecayed"),
        ("objective.log_temperatures.sdm", (1,), "undecayed"),
        ("model.text_model.embeddings.token_embedding.weight", (9, 4), "undecayed"),
        ("model.vision_model.embeddings.position_embedding.weight", (9, 4), "undecayed"),
        ("model.vision_model.embeddings.class_embedding", (4,), "undecayed"),
        ("model.vision_model.encoder.layers.1.prompt.clip_prompt_embeddings.default", (2, 4), "weights"),
        ("objective.identity_head.classifier.weight", (5, 4), "head_weights"),
        ("objective.identity_head.classifier.bias", (5,), "head_others"),
    ],
)
def test_each_kind_of_parameter_has_its_group_rate_and_decay(name: str, shape: tuple[int, ...], group: str):
    (only,) = parameter_groups(
        [(name, nn.Parameter(torch.zeros(shape)))], **SETTINGS, bias_lr_multiplier=2, head_lr_multiplier=5
    )
    rate = {"biases": 2e-3, "head_weights": 5e-3, "head_others": 5e-3}.get(group, 1e-3)
    decay = 0.02 if group in ("weights", "head_weights") else 0.0
    assert (only["name"], only["lr"], only["weight_decay"]) == (group, pytest.approx(rate), decay)


def test_every_trainable_parameter_of_clip_is_in_one_of_few_groups(clip: CLIPModel):
    clip.requires_grad_(True).logit_scale.requires_grad_(False)
    groups = parameter_groups(clip.named_parameters(), **SETTINGS)
    members = [parameter for group in groups for parameter in group["params"]]
    assert [group["name"] for group in groups] == ["weights", "biases", "undecayed"]
    assert len({id(parameter) for parameter in members}) == len(members) == len(list(clip.parameters())) - 1
    assert all(parameter is not clip.logit_scale for parameter in members)


def rates_by_name(parameters: dict[str, nn.Parameter], **settings: float) -> dict[str, float]:
    """Learning rate of each parameter, which must be in exactly one group."""
    groups = parameter_groups(parameters.items(), **SETTINGS, **settings)
    names = {id(parameter): name for name, parameter in parameters.items()}
    rates = [(names[id(parameter)], group["lr"]) for group in groups for parameter in group["params"]]
    assert len({name for name, _ in rates}) == len(rates)
    return dict(rates)


def test_rates_fall_from_the_top_of_each_tower_to_its_bottom():
    clip = PromptCLIPModel(
        PromptCLIPConfig(
            text_config=TINY_TOWER | {"num_hidden_layers": 3, "vocab_size": 9},
            vision_config=TINY_TOWER | {"num_hidden_layers": 2, "image_size": 8, "patch_size": 4},
            projection_dim=8,
        )
    )
    head = nn.Parameter(torch.zeros(2, 2))
    parameters = {f"model.{name}": value for name, value in clip.named_parameters()} | {"objective.head.weight": head}
    settings = {"layer_lr_decay": 0.5, "bias_lr_multiplier": 2, "head_lr_multiplier": 5}
    rates = rates_by_name(parameters, **settings)
    assert rates.keys() == parameters.keys()
    for name, factor in {
        "text_model.final_layer_norm.weight": 1,
        "text_model.encoder.layers.2.mlp.fc1.weight": 1,
        "text_model.encoder.layers.1.mlp.fc1.weight": 0.5,
        "text_model.encoder.layers.0.mlp.fc1.weight": 0.25,
        "text_model.encoder.layers.0.mlp.fc1.bias": 0.5,
        "text_model.embeddings.token_embedding.weight": 0.125,
        "vision_model.post_layernorm.weight": 1,
        "vision_model.encoder.layers.1.layer_norm1.weight": 1,
        "vision_model.encoder.layers.0.self_attn.q_proj.weight": 0.5,
        "vision_model.pre_layrnorm.weight": 0.25,
        "vision_model.embeddings.class_embedding": 0.25,
        "vision_model.embeddings.patch_embedding.weight": 0.25,
        "visual_projection.weight": 1,
        "text_projection.weight": 1,
        "logit_scale": 1,
    }.items():
        assert rates[f"model.{name}"] == pytest.approx(1e-3 * factor), name
    assert rates["objective.head.weight"] == pytest.approx(5e-3)
    groups = parameter_groups(parameters.items(), **SETTINGS, **settings)
    assert [group["name"] for group in groups[:5]] == [
        *("weights", "biases", "undecayed", "head_weights", "weights, 1 below the top")
    ]
    assert len(groups) == 4 + 3 + 3 + 1  # below all layers of the text tower are its embeddings alone
    assert groups[0]["lr"] == 1e-3  # what is logged as the learning rate


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(st.sampled_from(["text", "vision"]), st.integers(1, 6), min_size=1),
    st.floats(0.1, 1.0),
    st.data(),
)
def test_every_layer_has_the_rate_of_the_one_above_times_the_decay(depths: dict, decay: float, data: st.DataObject):
    parts = ("self_attn.k_proj.weight", "mlp.fc2.bias", "layer_norm1.weight", "self_attn.q_proj.lora_A.default.weight")
    shapes = {"weight": (2, 2), "bias": (2,)}
    parameters = {
        f"model.base_model.model.{tower}_model.encoder.layers.{layer}.{part}": nn.Parameter(
            torch.zeros(2) if "norm" in part else torch.zeros(shapes[part.rsplit(".")[-1]])
        )
        for tower, depth in depths.items()
        for layer in range(depth)
        for part in parts
    }
    for name in data.draw(st.sets(st.sampled_from(sorted(parameters)), max_size=len(parameters) - 1)):
        parameters[name].requires_grad_(False)
    plain, found = rates_by_name(parameters), rates_by_name(parameters, layer_lr_decay=decay)
    assert plain.keys() == found.keys() == {name for name, value in parameters.items() if value.requires_grad}
    for name, rate in found.items():
        tower, layer = re.search(r"(text|vision)_model\.encoder\.layers\.(\d+)", name).groups()
        assert rate == pytest.approx(plain[name] * decay ** (depths[tower] - 1 - int(layer)))


def test_other_head_prefixes_can_be_named():
    groups = parameter_groups([("cross.weight", nn.Parameter(torch.zeros(2, 2)))], **SETTINGS, head_prefixes=["cross"])
    assert groups[0]["name"] == "head_weights"


def test_nothing_to_train_is_refused(clip: CLIPModel):
    with pytest.raises(ValueError, match="No parameter requires a gradient"):
        parameter_groups(clip.requires_grad_(False).named_parameters(), **SETTINGS)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("learning_rate", 0),
        ("weight_decay", -1),
        ("bias_lr_multiplier", 0),
        ("head_lr_multiplier", math.nan),
        ("layer_lr_decay", 0),
        ("layer_lr_decay", 1.1),
    ],
)
def test_group_settings_out_of_range_are_refused(setting: str, value: float):
    with pytest.raises(ValueError, match=f"{setting} is {value}"):
        parameter_groups([], **{**SETTINGS, setting: value})


def two_groups():
    decayed, bias = nn.Parameter(torch.full((2, 2), 3.0)), nn.Parameter(torch.full((2,), 3.0))
    return parameter_groups([("w.weight", decayed), ("w.bias", bias)], learning_rate=0.1, weight_decay=0.5)


def test_first_adamw_step_is_the_closed_form():
    # The first step is lr * sign(gradient), after a decay of lr * weight_decay * value; the bias has twice the rate.
    optimizer = build_optimizer(two_groups(), "adamw")
    (weight,), (bias,) = (group["params"] for group in optimizer.param_groups)
    weight.grad, bias.grad = torch.full_like(weight, 7.0), torch.full_like(bias, -0.2)
    optimizer.step()
    torch.testing.assert_close(weight.data, torch.full((2, 2), 3 - 0.1 * 0.5 * 3 - 0.1))
    torch.testing.assert_close(bias.data, torch.full((2,), 3 + 0.2))


def test_adam_adds_the_decay_to_the_gradient():
    # A gradient of -1.5 meets a decay of .5 * 3: nothing is left, so the weight stays where AdamW would move it.
    optimizer = build_optimizer(two_groups(), "adam")
    (weight,), (bias,) = (group["params"] for group in optimizer.param_groups)
    weight.grad, bias.grad = torch.full_like(weight, -1.5), torch.zeros_like(bias)
    optimizer.step()
    torch.testing.assert_close(weight.data, torch.full((2, 2), 3.0))


def test_optimizer_is_fused_and_keeps_its_settings():
    optimizer = build_optimizer(two_groups(), betas=(0.8, 0.98), eps=1e-6)
    assert isinstance(optimizer, torch.optim.AdamW)
    for group in optimizer.param_groups:
        assert group["fused"] and group["betas"] == (0.8, 0.98) and group["eps"] == 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "sgd"}, "optimizer is 'sgd': it must be one of adamw, adam"),
        ({"betas": (0.9, 1.0)}, "beta 2 is 1.0"),
        ({"eps": 0}, "eps is 0"),
    ],
)
def test_bad_optimizer_settings_are_refused(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        build_optimizer(two_groups(), **options)


@pytest.mark.parametrize(
    ("step", "options", "factor"),
    [
        (0, {}, 0.1),
        (5, {}, 0.55),
        (10, {}, 1.0),
        (60, {}, 0.5),
        (35, {}, (1 + math.sqrt(0.5)) / 2),
        (110, {}, 0.0),
        (10_000, {}, 0.0),
        (60, {"final_factor": 0.2}, 0.6),
        (110, {"final_factor": 0.2}, 0.2),
        (0, {"start_factor": 0.0}, 0.0),
        (0, {"warmup_steps": 0}, 1.0),
        (55, {"warmup_steps": 0}, 0.5),
        (109, {"warmup_steps": 110}, 0.1 + 0.9 * 109 / 110),
        (110, {"warmup_steps": 110}, 0.0),
        (0, {"warmup_steps": 1, "total_steps": 1}, 0.1),
    ],
)
def test_schedule_factor(step: int, options: dict, factor: float):
    settings = {"warmup_steps": 10, "total_steps": 110, **options}
    assert warmup_cosine(step, **settings) == pytest.approx(factor, abs=1e-12)


def test_schedule_never_leaves_its_range_and_falls_after_the_warm_up():
    factors = [warmup_cosine(step, warmup_steps=7, total_steps=50, final_factor=0.05) for step in range(60)]
    assert factors[:8] == sorted(factors[:8]) and factors[7:] == sorted(factors[7:], reverse=True)
    assert min(factors) >= 0.05 and max(factors) == 1


def test_build_schedule_scales_every_group_and_resumes():
    def make():
        optimizer = build_optimizer(two_groups())
        return optimizer, build_schedule(optimizer, warmup_steps=2, total_steps=6, start_factor=0.5)

    optimizer, schedule = make()
    rates = []
    for step in range(6):
        rates.append([group["lr"] for group in optimizer.param_groups])
        factor = warmup_cosine(step, warmup_steps=2, total_steps=6, start_factor=0.5)
        assert rates[-1] == pytest.approx([0.1 * factor, 0.2 * factor])
        optimizer.step()
        schedule.step()
        if step == 2:
            saved = schedule.state_dict(), optimizer.state_dict()
    optimizer, schedule = make()
    schedule.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    assert [group["lr"] for group in optimizer.param_groups] == rates[3]
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == rates[4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"total_steps": 0}, "total_steps is 0"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"warmup_steps": 11}, "warmup_steps is 11 of 10 total_steps"),
        ({"start_factor": 1.1}, "start_factor is 1.1"),
        ({"final_factor": -0.1}, "final_factor is -0.1"),
    ],
)
def test_bad_schedules_are_refused(options: dict, message: str):
    settings = {"warmup_steps": 1, "total_steps": 10, **options}
    with pytest.raises(ValueError, match=message):
        warmup_cosine(0, **settings)
    with pytest.raises(ValueError, match=message):
        build_schedule(build_optimizer(two_groups()), **settings)


def test_a_negative_step_is_refused():
    with pytest.raises(ValueError, match="step is -1"):
        warmup_cosine(-1, warmup_steps=1, total_steps=10)
