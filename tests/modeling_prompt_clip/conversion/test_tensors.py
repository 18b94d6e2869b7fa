"""Tensors that are not plain finite numbers of the right shape are errors that name them, never tracebacks."""

import pytest
import torch

NAME = "base_model.visual.transformer.resblocks.0.mlp.c_fc.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensor: tensor.to_sparse(), "dense"),
        (lambda tensor: tensor.to(torch.int8), "int8: weights must be floating-point"),
        (lambda tensor: tensor.to(torch.complex64), "floating-point"),
        (lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8), "floating-point"),
        (lambda tensor: tensor.to("meta"), "meta device"),
        (lambda tensor: tensor[:0], "is empty"),
        (lambda tensor: tensor.fill_(float("nan")), "NaN or infinity"),
        (lambda tensor: tensor[:, :-1], "does not fit together"),
        (lambda tensor: tensor.reshape(-1), "must have 2 sides"),
        (lambda tensor: tensor.sum(), "must have 2 sides"),
    ],
)
def test_tensors_that_cannot_be_weights(source, convert, tmp_path, change, message):
    state = source.state("irra")
    with pytest.raises((ValueError, OSError), match=message) as error:
        convert({**state, NAME: change(state[NAME].clone())})
    assert "\n" not in str(error.value) and NAME in str(error.value)
    assert not (tmp_path / "converted").exists()


@pytest.mark.parametrize(
    "name",
    [
        "visual.conv1.weight",
        "visual.class_embedding",
        "visual.positional_embedding",
        "visual.proj",
        "visual.ln_pre.weight",
        "visual.transformer.resblocks.0.attn.in_proj_weight",
        "token_embedding.weight",
        "positional_embedding",
        "text_projection",
        "transformer.resblocks.0.attn.in_proj_bias",
        "transformer.resblocks.0.mlp.c_fc.weight",
    ],
)
@pytest.mark.parametrize("change", [lambda t: t.sum(), lambda t: t[None], lambda t: t.flatten()[:7], lambda t: t[:0]])
def test_any_tensor_of_other_sides_is_an_error_that_names_a_tensor(source, convert, name, change):
    state = source.state("openai")
    with pytest.raises(ValueError, match=r"visual\.|embedding|projection|resblocks|text tower|positions"):
        convert({**state, name: change(state[name])})


def test_views_and_shared_memory_are_weights_like_others(source, convert):
    state = {name: tensor.T.contiguous().T if tensor.ndim == 2 else tensor for name, tensor in source.state().items()}
    converted, _ = convert(state)
    assert converted.dropped == ["input_resolution"]


@pytest.mark.parametrize("resolution", [float("nan"), float("inf"), 0.5, 0, -3, [1, 2]])
def test_a_resolution_that_is_none_is_passed_over(source, convert, resolution):
    converted, _ = convert({**source.state(), "input_resolution": torch.tensor(resolution)})
    assert converted.config.vision_config.image_height_width == (96, 32)


def test_a_temperature_of_several_numbers(source, convert):
    with pytest.raises(ValueError, match=r"logit_scale in the checkpoint has the shape \(2,\)"):
        convert({**source.state(), "logit_scale": torch.ones(2)})


@pytest.mark.parametrize("content", [{}, {"model": {"a": 1}}, [], 3, {"model": [torch.ones(2)]}, torch.ones(3), None])
def test_files_without_tensors_by_name(convert, content):
    with pytest.raises(ValueError, match="holds no tensors by name"):
        convert(content)
