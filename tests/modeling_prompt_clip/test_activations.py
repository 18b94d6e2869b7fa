"""QuickGELU: transformers' values bit for bit, the right gradient, and one saved tensor."""

import pytest
import torch
from transformers.activations import GELUActivation, QuickGELUActivation

from modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.prompted_layers import QuickGELU

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def states(dtype=torch.float32, requires_grad=False):
    extremes = torch.tensor([0.0, -0.0, 1e4, -1e4, 1e-7, -1e-7, torch.inf])
    drawn = 5 * torch.randn(300, generator=torch.Generator().manual_seed(0))
    return torch.cat([drawn, extremes]).to(dtype).requires_grad_(requires_grad)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("requires_grad", [True, False])
def test_values_are_those_of_transformers_bit_for_bit(dtype, requires_grad):
    found = QuickGELU()(states(dtype, requires_grad))
    assert found.dtype == dtype and found.requires_grad == requires_grad
    assert torch.equal(found, QuickGELUActivation()(states(dtype)))


def test_gradients_in_float64():
    inputs = states(torch.float64)[:20].requires_grad_()
    assert torch.autograd.gradcheck(QuickGELU(), inputs)


def test_second_derivatives_are_refused_and_not_wrong():
    inputs = states(torch.float64)[:20].requires_grad_()
    (gradient,) = torch.autograd.grad(QuickGELU()(inputs).sum(), inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="derivative for aten::silu_backward is not implemented"):
        gradient.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gradients_are_as_close_to_the_true_ones_as_those_of_transformers(dtype):
    def error(activation):
        inputs = states(dtype)[:300].requires_grad_()
        activation(inputs).sum().backward()
        return (inputs.grad.double() - true).abs().max().item()

    exact = states(dtype)[:300].double().requires_grad_()
    QuickGELUActivation()(exact).sum().backward()
    true = exact.grad
    assert error(QuickGELU()) <= 1.1 * error(QuickGELUActivation())


def test_the_input_alone_is_kept_for_the_backward_pass():
    kept = []
    inputs = states(requires_grad=True) * 1
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        QuickGELU()(inputs)
    assert [tensor.data_ptr() for tensor in kept] == [inputs.data_ptr()]


def test_other_activations_are_left_alone(tiny_folder):
    config = PromptCLIPModel.from_pretrained(tiny_folder).config
    assert config.text_config.hidden_act == config.vision_config.hidden_act == "quick_gelu"
    config.text_config.hidden_act = "gelu"
    model = PromptCLIPModel(config)
    assert all(type(layer.mlp.activation_fn) is QuickGELU for layer in model.vision_model.encoder.layers)
    for layer in model.text_model.encoder.layers:
        assert isinstance(layer.mlp.activation_fn, GELUActivation)
