import pytest
import torch
from accelerate import Accelerator

from modeling_prompt_clip import PromptCLIPModel
from trainers.objectives import CombinedObjective
from trainers.stage import StageLoop, StageModule


def two_batches():
    """Two batches of four pairs for the tiny CLIP at 96x32."""
    generator = torch.Generator().manual_seed(7)
    return [
        {
            "pixel_values": torch.randn(4, 3, 96, 32, generator=generator),
            "input_ids": torch.randint(3, 60, (4, 6), generator=generator),
            "person_ids": torch.tensor([5, 9, 5, 2]),
            "labels": torch.tensor([1, 2, 1, 0]),
            "image_ids": torch.arange(4),
        }
        for _ in range(2)
    ]


@pytest.fixture
def module(tiny_folder):
    torch.manual_seed(0)
    model = PromptCLIPModel.from_pretrained(tiny_folder)
    model.logit_scale.requires_grad_(False)
    return StageModule(model, CombinedObjective({"sdm": 1.0, "id": 0.5}, embedding_dim=24, num_identities=3))


@pytest.fixture
def make_loop(make_args, module):
    def make(evaluate=None, keep=lambda step: None, total_steps=1, **settings):
        args = make_args(optimizer="adam", **settings)
        loader = two_batches() * total_steps
        options = {"total_steps": total_steps, "eval_steps": 1, "evaluate": evaluate, "keep": keep, "log": None}
        return StageLoop(Accelerator(cpu=True), args, args.stage("two"), module, loader, **options)

    return make


def gradients_at_the_step(loop):
    """What the optimizer sees in one step of the loop, by parameter name."""
    seen = {}

    def look(*_):
        seen.update({name: p.grad.clone() for name, p in loop.module.named_parameters() if p.grad is not None})

    loop.optimizer.optimizer.register_step_pre_hook(look)
    loop.run()
    return seen


def test_accumulation_averages_the_gradients_of_its_batches(make_loop, module):
    expected = {}
    for batch in two_batches():
        module(batch)[0].backward()
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:
            expected[name] = parameter.grad / 2
    module.zero_grad(set_to_none=True)
    found = gradients_at_the_step(make_loop(gradient_accumulation_steps=2, max_grad_norm=0.0))
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-7)


def test_gradients_are_clipped_to_the_norm(make_loop):
    found = gradients_at_the_step(make_loop(max_grad_norm=0.01))
    norm = torch.stack([gradient.norm() for gradient in found.values()]).norm()
    torch.testing.assert_close(norm, torch.tensor(0.01), rtol=1e-3, atol=0)


def test_the_first_best_score_is_kept_and_a_tie_is_not(make_loop):
    scores, kept = iter([40.0, 50.0, 50.0, 45.0]), []
    loop = make_loop(evaluate=lambda: {"R@1": next(scores)}, keep=kept.append, total_steps=4)
    result = loop.run()
    assert kept == [1, 2]
    assert (result.steps, result.best_step, result.best_metrics) == (4, 2, {"R@1": 50.0})


def test_without_validation_the_last_weights_are_kept(make_loop):
    kept = []
    result = make_loop(keep=kept.append, total_steps=3).run()
    assert kept == [3]
    assert (result.best_step, result.best_metrics) == (3, {})


def test_the_learning_rate_warms_up_and_ends_at_zero(make_loop):
    loop = make_loop(total_steps=10, stage_two_learning_rate=1.0e-3, stage_two_warmup_ratio=0.2, warmup_start=0.1)
    rates = []
    loop.optimizer.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    loop.run()
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == pytest.approx(1e-3)
    assert rates.index(max(rates)) == 2
    assert loop.schedule.get_last_lr()[0] == pytest.approx(0.0, abs=1e-9)
