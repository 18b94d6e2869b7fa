"""Frozen weights in half precision: the same step bit for bit, and the originals for everyone else."""

import pytest
import torch
from accelerate import Accelerator
from peft import get_peft_model

from modeling_prompt_clip import PromptCLIPModel
from prompting import strong
from trainers.objectives import CombinedObjective
from trainers.stages.layer_modes import FrozenWeights, frozen_parameters
from trainers.stages.loop import StageLoop
from trainers.stages.module import StageModule


@pytest.fixture
def batch(input_ids, pixel_values):
    ids = {"person_ids": torch.tensor([5, 9, 5, 2]), "labels": torch.tensor([1, 2, 1, 0])}
    return {"input_ids": input_ids, "pixel_values": pixel_values, "image_ids": torch.arange(4)} | ids


@pytest.fixture
def module(tiny_folder):
    """What stage one trains."""
    torch.manual_seed(0)
    model = get_peft_model(PromptCLIPModel.from_pretrained(tiny_folder), strong())
    return StageModule(model, CombinedObjective({"sdm": 1.0, "id": 0.5}, embedding_dim=24, num_identities=3)).train()


def loss_and_gradients(module, batch):
    module.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = module(batch)
    loss.backward()
    return {"loss": loss} | {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def test_the_frozen_matrices_and_kernels_are_cast_and_no_others(module):
    names = {parameter: name for name, parameter in module.named_parameters()}
    found = [names[parameter] for parameter in frozen_parameters(module)]
    tower = 3 * 6 * 2  # layers, matrices in each, weight and bias
    assert len(found) == len(set(found)) == 2 * tower + 1 + 2
    assert any(name.endswith("patch_embedding.weight") for name in found)
    for name in found:
        assert not any(part in name for part in ("objective", "norm", "class_", "position_", "token_", "clip_prompt"))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_the_copies_stand_in_for_the_originals_for_a_while(module, precision):
    half = FrozenWeights(Accelerator(cpu=True, mixed_precision=precision), module)
    parameters = frozen_parameters(module)
    before = [(parameter.data.clone(), parameter.data_ptr()) for parameter in parameters]
    with pytest.raises(RuntimeError, match="out of memory"), half.in_half_precision():
        for parameter, (original, _) in zip(parameters, before, strict=True):
            assert parameter.dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
            assert torch.equal(parameter, original.to(parameter.dtype))
        raise RuntimeError("out of memory")
    for parameter, (original, address) in zip(parameters, before, strict=True):
        assert torch.equal(parameter, original) and parameter.data_ptr() == address


def test_a_step_is_the_same_bit_for_bit(module, batch):
    expected = loss_and_gradients(module, batch)
    half = FrozenWeights(Accelerator(cpu=True, mixed_precision="bf16"), module)
    with half.in_half_precision():
        assert module.model.get_base_model().visual_projection.weight.dtype == torch.bfloat16
        found = loss_and_gradients(module, batch)
    assert found.keys() == expected.keys() and len(found) > 6
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_without_mixed_precision_nothing_is_cast(module):
    half = FrozenWeights(Accelerator(cpu=True), module)
    assert half.weights == []
    with half.in_half_precision():
        assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


def test_in_a_stage_steps_see_the_copies_and_evaluation_the_originals(module, batch, make_args):
    dtypes = {"step": set(), "evaluation": set()}
    weight = module.model.get_base_model().visual_projection.weight
    original = weight.data.clone()
    module.register_forward_pre_hook(lambda *_: dtypes["step"].add(weight.dtype))
    args = make_args(mixed_precision="bf16")
    loop = StageLoop(
        Accelerator(cpu=True, mixed_precision="bf16"),
        args,
        args.stage("one"),
        module,
        [batch] * 2,
        total_steps=2,
        eval_steps=1,
        evaluate=lambda: dtypes["evaluation"].add(weight.dtype) or {"R@1": 0.0},
        keep=lambda step: dtypes["evaluation"].add(weight.dtype),
        log=None,
    )
    loop.run()
    assert dtypes == {"step": {torch.bfloat16}, "evaluation": {torch.float32}}
    assert torch.equal(weight, original)
