"""Attention in half precision, and which function computes it."""

import pytest
import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from modeling_prompt_clip import PromptCLIPModel, prompted_attention
from modeling_prompt_clip.prompted_attention import attention_function, plain_attention

QUERIES, KEYS, HEADS, DIM = 5, 7, 2, 16


def inputs(keys=KEYS, dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    shapes = [(3, HEADS, count, DIM) for count in (QUERIES, keys, keys)]
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes
    ]


def masks():
    """None; one for all; one for each, some of whose queries see nothing but one key."""
    one = torch.ones(1, 1, QUERIES, KEYS, dtype=torch.bool).tril(2)
    each = torch.rand(3, 1, QUERIES, KEYS, generator=torch.Generator().manual_seed(3)) > 0.7
    each[..., 0] = True
    return [None, one, each]


@pytest.mark.parametrize("mask", masks(), ids=["none", "one", "each"])
def test_plain_attention_and_its_gradients_are_those_of_sdpa(mask):
    results = []
    for function in (plain_attention, sdpa_attention_forward):
        tensors = inputs()
        output, _ = function(nn.Module(), *tensors, mask, scaling=0.3, is_causal=False)
        assert output.shape == (3, QUERIES, HEADS, DIM)
        results.append([output, *torch.autograd.grad(output.square().sum(), tensors)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_plain_attention_without_a_mask_can_be_causal():
    tensors = inputs(keys=QUERIES)
    visible = torch.ones(QUERIES, QUERIES, dtype=torch.bool).tril()
    output, _ = plain_attention(nn.Module(), *tensors, None, scaling=0.3, is_causal=True)
    expected, _ = plain_attention(nn.Module(), *tensors, visible, scaling=0.3)
    assert torch.equal(output, expected)
    assert torch.equal(output[:, 0], tensors[2][:, :, 0])  # the first query sees itself alone


def test_plain_attention_drops_out():
    torch.manual_seed(0)
    kept, _ = plain_attention(nn.Module(), *inputs(), None, scaling=0.3, dropout=0.0)
    dropped, _ = plain_attention(nn.Module(), *inputs(), None, scaling=0.3, dropout=0.9)
    assert not torch.allclose(kept, dropped)


def test_in_bfloat16_it_is_about_as_exact_as_sdpa():
    exact, _ = sdpa_attention_forward(nn.Module(), *inputs(), None, scaling=0.3, is_causal=False)
    errors = []
    for function in (plain_attention, sdpa_attention_forward):
        output, _ = function(nn.Module(), *inputs(dtype=torch.bfloat16), None, scaling=0.3, is_causal=False)
        errors.append((output.double() - exact).square().mean().sqrt().item())
    assert errors[0] < 1.5 * errors[1]


@pytest.mark.parametrize(
    ("implementation", "dtype", "training", "plain"),
    [
        ("sdpa", torch.bfloat16, True, True),
        ("sdpa", torch.float16, True, True),
        ("sdpa", torch.float32, True, False),
        ("sdpa", torch.bfloat16, False, False),
        ("eager", torch.bfloat16, True, False),
    ],
)
def test_attention_is_plain_in_training_in_half_precision_on_a_cpu(implementation, dtype, training, plain):
    queries = torch.zeros(1, dtype=dtype)
    assert (attention_function(implementation, queries, training) is plain_attention) == plain
    assert attention_function(implementation, queries.to("meta"), training) is not plain_attention


def test_training_under_autocast_calls_it(tiny_folder, input_ids, pixel_values, monkeypatch):
    calls = []
    plain = prompted_attention.plain_attention
    spy = lambda *args, **kwargs: calls.append(1) or plain(*args, **kwargs)  # noqa: E731
    monkeypatch.setattr(prompted_attention, "plain_attention", spy)
    model = PromptCLIPModel.from_pretrained(tiny_folder)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.train()(input_ids=input_ids, pixel_values=pixel_values)
        assert len(calls) == 6
        model.eval()(input_ids=input_ids, pixel_values=pixel_values)
    assert len(calls) == 6
