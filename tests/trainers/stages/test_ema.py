import pytest
import torch
from accelerate.state import AcceleratorState
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import get_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn
from transformers import TrainerCallback

from trainers import TwoStageTrainer
from trainers.run_folder.metrics_log import read_metrics
from trainers.stages.ema import WeightAverage

YES = torch.tensor(True)


def follow(values, decay, changed=None):
    """A WeightAverage after a parameter had each of the values in turn."""
    parameter = nn.Parameter(torch.tensor([values[0]]))
    average = WeightAverage([parameter], decay)
    for value, change in zip(values[1:], changed or [True] * len(values), strict=False):
        with torch.no_grad():
            parameter.fill_(value)
        average.update(torch.tensor(change))
    return average


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.floats(-10, 10, width=32), st.booleans()), min_size=1, max_size=30),
    st.sampled_from([0.0, 0.5, 0.9, 0.999]),
)
def test_it_equals_a_loop_over_numbers(steps, decay):
    values, changed = [3.0, *(value for value, _ in steps)], [change for _, change in steps]
    expected, count = 3.0, 0
    for value, change in steps:
        if change:
            count += 1
            kept = min(decay, (1 + count) / (10 + count))
            expected = kept * expected + (1 - kept) * value
    found = follow(values, decay, changed)
    torch.testing.assert_close(found.averages[0].double().item(), expected, rtol=1e-4, atol=1e-4)
    assert found.steps == count


def test_a_constant_stays_and_after_the_warm_up_a_jump_is_forgotten_by_the_decay():
    assert follow([2.5] * 50, 0.9).averages[0] == 2.5
    values = [0.0] * 200 + [1.0] * 7  # the decay is 0.9 from step 81 on
    torch.testing.assert_close(follow(values, 0.9).averages[0], torch.tensor([1 - 0.9**7]))


def test_the_first_steps_are_not_drowned_by_the_start():
    assert follow([0.0, 1.0], 0.9999).averages[0] == pytest.approx(9 / 11)


def test_a_decay_of_zero_is_the_weights_themselves():
    assert follow([0.0, 1.0, 5.0], 0.0).averages[0] == 5.0


def test_while_it_is_applied_the_parameters_are_the_average_and_then_their_own_again():
    average = follow([1.0, 3.0], 0.5)
    (parameter,) = average.parameters
    expected = average.averages[0].clone()
    assert not torch.equal(parameter, expected)
    with pytest.raises(OSError), average.applied():
        assert torch.equal(parameter, expected) and parameter.requires_grad and torch.is_grad_enabled()
        raise OSError
    assert parameter == 3.0 and torch.equal(average.averages[0], expected)


def test_a_saved_state_goes_on():
    whole, half = follow([1.0, 3.0, 7.0], 0.5), follow([1.0, 3.0], 0.5)
    state = {"averages": [half.averages[0].clone()], "steps": half.steps.clone()}
    other = WeightAverage([nn.Parameter(torch.tensor([7.0]))], 0.5)
    other.load_state_dict(state)
    other.update(YES)
    assert torch.equal(other.averages[0], whole.averages[0]) and other.steps == 2


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match=f"decay is {decay}"):
        WeightAverage([nn.Parameter(torch.zeros(1))], decay)


@pytest.fixture
def watched_run(make_args, splits, tmp_path, monkeypatch):
    """Runs stage one; returns the raw prompts before it and after each step, those evaluated, those kept, the log."""

    def run(name, **settings):
        seen = []

        class Watch(TrainerCallback):
            def on_step_end(self, args, state, control, model, **_):
                prompts = dict(model.named_parameters())
                seen.append({name: prompts[name].detach().clone() for name in prompts if "clip_prompt" in name})

            on_train_begin = on_step_end

        args = make_args(
            output_dir=str(tmp_path / name), stages=["one"], stage_one_max_steps=4, eval_steps=1, **settings
        )
        with monkeypatch.context() as patch:
            trainer = TwoStageTrainer(args, splits=splits, callbacks=[Watch()])
            evaluator, evaluated = trainer.evaluation.validation, []
            evaluate = evaluator.by_direction

            def validation(model):
                evaluated.append({name: value.clone() for name, value in get_peft_model_state_dict(model).items()})
                return evaluate(model)

            patch.setattr(evaluator, "by_direction", lambda model: (validation if seen else evaluate)(model))
            trainer.train()
        AcceleratorState._reset_state(reset_partial_state=True)
        kept = load_file(trainer.run.adapter / "adapter_model.safetensors")
        return seen, evaluated, kept, read_metrics(trainer.run.metrics)

    return run


def test_the_average_is_evaluated_and_kept_while_training_goes_on_without_it(watched_run):
    plain, _, _, plain_log = watched_run("plain")
    seen, evaluated, kept, log = watched_run("averaged", ema_decay=0.5)
    assert all(torch.equal(one[name], other[name]) for one, other in zip(plain, seen, strict=True) for name in one)
    losses = [[row["loss"] for row in rows if row["split"] == "train"] for rows in (plain_log, log)]
    assert losses[0] == losses[1]
    scores = [row for row in log if row["split"] == "validation" and row["step"]]
    best = max(scores, key=lambda row: row["R@1"])["step"]
    parameters = {name: nn.Parameter(value.clone()) for name, value in seen[0].items()}
    average = WeightAverage(parameters.values(), 0.5)
    for step, after in enumerate(seen[1:], start=1):
        for name, value in after.items():
            parameters[name].data.copy_(value)
        average.update(YES)
        expected = dict(zip(parameters, average.averages, strict=True))
        for found in (evaluated[step - 1], kept) if step == best else (evaluated[step - 1],):
            assert len(found) == 6
            for name, value in expected.items():
                assert torch.equal(found[name.removesuffix(".default")], value)
                assert not torch.equal(value, after[name])
