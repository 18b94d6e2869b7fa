"""Gradient checkpointing and compilation: the same training, and nothing of it left afterwards."""

import pytest
import torch
from accelerate import Accelerator
from peft import get_peft_model

from modeling_prompt_clip import PromptCLIPModel
from prompting import strong
from trainers.objectives import CombinedObjective
from trainers.stages.layer_modes import check_compiler, layer_modes
from trainers.stages.loop import StageLoop
from trainers.stages.module import StageModule

LENGTHS = (6, 9, 7, 12)


def batches():
    """Four of them, with captions of different lengths."""
    generator = torch.Generator().manual_seed(7)
    return [
        {
            "pixel_values": torch.randn(4, 3, 96, 32, generator=generator),
            "input_ids": torch.randint(3, 60, (4, length), generator=generator),
            "person_ids": torch.tensor([5, 9, 5, 2]),
            "labels": torch.tensor([1, 2, 1, 0]),
            "image_ids": torch.arange(4),
        }
        for length in LENGTHS
    ]


@pytest.fixture
def make_module(tiny_folder):
    def make(stage):
        torch.manual_seed(0)
        model = PromptCLIPModel.from_pretrained(tiny_folder)
        model.logit_scale.requires_grad_(False)
        if stage == "one":
            model = get_peft_model(model, strong())
        return StageModule(model, CombinedObjective({"sdm": 1.0}))

    return make


def trained(module, make_args, stage, **settings):
    """Take a step for each batch, with two evaluations; returns the losses."""
    args = make_args(**settings)
    losses = []
    module.register_forward_hook(lambda _, __, output: losses.append(output[0].item()) if module.training else None)

    def evaluate():
        with torch.no_grad():
            module.model.eval()(input_ids=batches()[1]["input_ids"], pixel_values=batches()[1]["pixel_values"])
        return {"R@1": 0.0}

    loop = StageLoop(
        Accelerator(cpu=True),
        args,
        args.stage(stage),
        module,
        batches(),
        total_steps=4,
        eval_steps=2,
        evaluate=evaluate,
        keep=lambda step: None,
        log=None,
    )
    loop.run()
    return losses


def weights(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("stage", ["one", "two"])
def test_checkpointing_trains_to_the_same_weights(make_module, make_args, stage):
    plain, checkpointed = make_module(stage), make_module(stage)
    expected = trained(plain, make_args, stage)
    found = trained(checkpointed, make_args, stage, gradient_checkpointing=True)
    assert found == expected
    found, expected = weights(checkpointed), weights(plain)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def kept_numbers(module, **modes):
    """How many numbers autograd keeps between the passes."""
    kept = []  # the tensors, so that no memory is used twice

    def keep(tensor):
        kept.append(tensor)
        return tensor

    with layer_modes(module, **modes), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = module.train()(batches()[0])
    assert output[0].requires_grad
    activations = [tensor for tensor in kept if not isinstance(tensor, torch.nn.Parameter)]
    return sum({tensor.data_ptr(): tensor.numel() for tensor in activations}.values())


@pytest.mark.parametrize("stage", ["one", "two"])
def test_checkpointing_keeps_fewer_activations_and_ends_with_the_stage(make_module, stage):
    module = make_module(stage)
    before = kept_numbers(module, compiled=False, checkpointed=False)
    assert kept_numbers(module, compiled=False, checkpointed=True) < before / 3
    assert kept_numbers(module, compiled=False, checkpointed=False) == before


def test_modes_are_undone_after_an_error(make_module):
    module = make_module("two")
    forwards = [layer.forward for layer in module.model.text_model.encoder.layers]
    with (
        pytest.raises(RuntimeError, match="out of memory"),
        layer_modes(module, compiled=True, checkpointed=True),
    ):
        assert [layer.forward for layer in module.model.text_model.encoder.layers] != forwards
        assert module.model.is_activation_checkpointing
        raise RuntimeError("out of memory")
    assert [layer.forward for layer in module.model.text_model.encoder.layers] == forwards
    assert not module.model.is_activation_checkpointing


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["one", "two"])
def test_compiled_layers_train_alike_without_compiling_each_length(make_module, make_args, stage):
    torch._dynamo.utils.counters.clear()
    plain, compiled = make_module(stage), make_module(stage)
    expected = trained(plain, make_args, stage)
    found = trained(compiled, make_args, stage, compile=True)
    assert len(set(found)) == 4 and found == pytest.approx(expected, rel=1e-4)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert 0 < graphs <= 8  # two towers; first, middle, last layer; at most two lengths. No evaluation.
    assert weights(compiled).keys() == weights(plain).keys()


def test_a_machine_that_cannot_compile_is_told_what_is_missing(monkeypatch):
    def fail(function):
        def call(*_):
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nlong story")

        return call

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(ValueError) as error:
        check_compiler(torch.device("cpu"))
    assert str(error.value) == (
        "compile is set, but torch.compile does not work on this machine (InvalidCxxCompiler: No working C++ compiler "
        "found); it needs a C++ compiler: install that, or leave compile out"
    )
