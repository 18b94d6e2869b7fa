import json

import pytest
import torch
from accelerate import Accelerator
from peft import get_peft_model
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import CLIPTokenizer

from modeling_prompt_clip import PromptCLIPModel
from prompting import strong, trainable
from trainers.objectives import CombinedObjective
from trainers.run_folder.metrics_log import MetricsLog, read_metrics
from trainers.stages.loop import StageLoop
from trainers.stages.module import StageModule, after_end


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
    def make(evaluate=None, keep=lambda step: None, total_steps=1, loader=None, log=None, options=None, **settings):
        args = make_args(**({"optimizer": "adam"} | settings))
        loader = two_batches() * total_steps if loader is None else loader
        defaults = {"total_steps": total_steps, "eval_steps": 1, "evaluate": evaluate, "keep": keep, "log": log}
        return StageLoop(Accelerator(cpu=True), args, args.stage("two"), module, loader, **defaults | (options or {}))

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


class NoReading(TorchDispatchMode):
    """Within it no number of a tensor may be read, for which a GPU would have to be waited for."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = str(operation)
        assert not any(part in name for part in ("_local_scalar_dense", "nonzero", "aten.equal.", "masked_select")), (
            name
        )
        return operation(*args, **kwargs or {})


@pytest.mark.parametrize("stage", ["one", "two"])
@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("settings", [{}, {"max_grad_norm": 0.0}, {"gradient_checkpointing": True}], ids=str)
def test_no_step_waits_for_the_device(make_args, module, monkeypatch, stage, precision, settings):
    if stage == "one":
        module.model = get_peft_model(module.model, strong())
    args = make_args(mixed_precision=precision, log_steps=10, **settings)
    seen = []

    def batches():
        """Each is asked for within a step; what comes after the last one may read the losses."""
        for batch in two_batches() * 2:
            with NoReading():
                yield batch
            seen.append(batch)
        yield batch

    keywords = {"total_steps": 5, "eval_steps": 5, "evaluate": None, "keep": lambda step: None, "log": None}
    accelerator = Accelerator(cpu=True, mixed_precision=precision)
    StageLoop(accelerator, args, args.stage(stage), module, batches(), max_bad_steps=10, **keywords).run()
    assert len(seen) == 4
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NoReading():
        torch.ones(1).item()


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


def spoiled(batch, image=2):
    """The batch with one pixel of an image that is not a number."""
    pixels = batch["pixel_values"].clone()
    pixels[image, 0, 0, 0] = torch.nan
    return batch | {"pixel_values": pixels}


def state_of(loop):
    """Copies of the weights and of all that the optimizer knows."""
    weights = {name: parameter.detach().clone() for name, parameter in loop.module.named_parameters()}
    states = loop.optimizer.optimizer.state
    known = {(parameter, key): value.clone() for parameter in states for key, value in states[parameter].items()}
    return weights | known


def states_after_each_step(loop):
    states = []
    loop.keep = lambda step: None
    loop.evaluate = lambda: states.append(state_of(loop)) or {"R@1": 0.0}
    loop.run()
    return states


def all_equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("max_grad_norm", [0.0, 1.0])
@pytest.mark.parametrize("fused", [True, False])
def test_a_step_that_is_not_finite_changes_neither_weights_nor_optimizer(make_loop, optimizer, max_grad_norm, fused):
    good, other = two_batches()
    settings = {"optimizer": optimizer, "max_grad_norm": max_grad_norm, "stage_two_weight_decay": 0.1}
    loop = make_loop(loader=[good, spoiled(other), other], total_steps=3, **settings)
    if not fused:  # as on a device that has no fused kernels
        for group in (loop.optimizer.defaults, *loop.optimizer.param_groups):
            group["fused"] = None
    first, second, third = states_after_each_step(loop)
    assert all_equal(first, second)
    assert not all_equal(second, third)
    assert all(value.isfinite().all() for value in third.values())
    assert loop.result.skipped_steps == 1


def test_a_step_that_is_not_finite_does_not_change_the_average(make_loop):
    good, other = two_batches()
    loop = make_loop(loader=[good, spoiled(other), other], total_steps=3, ema_decay=0.5)
    update, seen = loop.average.update, []
    loop.average.update = lambda changed: (update(changed), seen.append([v.clone() for v in loop.average.averages]))
    loop.run()
    first, second, third = seen
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    assert not all(torch.equal(*pair) for pair in zip(second, third, strict=True))
    assert loop.average.steps == 2


def test_a_gradient_that_is_not_finite_is_enough(make_loop, module):
    loop = make_loop(total_steps=2)
    module.model.text_projection.weight.register_hook(lambda gradient: gradient / 0)
    before = state_of(loop)
    (after, _) = states_after_each_step(loop)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert loop.result.skipped_steps == 2


def test_a_spoiled_batch_spoils_the_step_that_it_is_accumulated_in(make_loop):
    good, other = two_batches()
    loop = make_loop(loader=[good, other, spoiled(good), other], total_steps=2, gradient_accumulation_steps=2)
    first, second = states_after_each_step(loop)
    assert all_equal(first, second)


def test_skipped_steps_are_logged_and_left_out_of_the_mean(make_loop, tmp_path, caplog):
    good, other = two_batches()
    loader = [good, spoiled(good), other, spoiled(other), spoiled(other), other]
    with MetricsLog(tmp_path / "metrics.jsonl") as log, caplog.at_level("WARNING"):
        make_loop(loader=loader, total_steps=6, log=log, log_steps=3, stage_two_learning_rate=1e-30).run()
    first, second = [record for record in read_metrics(tmp_path / "metrics.jsonl") if record["split"] == "train"]
    assert (first["skipped_steps"], second["skipped_steps"]) == (1, 3)
    assert first["loss"] == pytest.approx((second["loss"] + first_loss(make_loop, good)) / 2, rel=1e-5)
    assert [record.getMessage() for record in caplog.records][0] == (
        "stage two, step 2: loss or gradient is not finite; the step is skipped (1 so far)"
    )


def first_loss(make_loop, batch):
    with torch.no_grad():
        return make_loop().module(batch)[0].item()


def test_an_interval_of_skipped_steps_logs_no_loss(make_loop, tmp_path):
    with MetricsLog(tmp_path / "metrics.jsonl") as log:
        make_loop(loader=[spoiled(two_batches()[0])], log=log).run()
    (record,) = read_metrics(tmp_path / "metrics.jsonl")
    assert record.keys() == {"stage", "step", "split", "learning_rate", "skipped_steps"}


@pytest.mark.parametrize("log_steps", [1, 100])
def test_too_many_bad_steps_in_a_row_stop_the_run_and_name_their_images(make_loop, tmp_path, log_steps):
    good, other = two_batches()
    loader = [spoiled(good), good, spoiled(good), spoiled(other), spoiled(other), *[good] * 20]
    options = {"max_bad_steps": 3, "image_names": ["a.png", "b.png", "c.png", "d.png"]}
    loop = make_loop(loader=loader, total_steps=25, log_steps=log_steps, options=options)
    with pytest.raises(ValueError, match=r"not finite in 3 steps in a row \(max_bad_steps\), 3 to 5") as error:
        loop.run()
    report = tmp_path / "run" / "bad_batch.json"
    assert str(report) in str(error.value)
    names = ["a.png", "b.png", "c.png", "d.png"]
    batches = [{"step": step, "image_ids": names} for step in (3, 4, 5)]
    assert json.loads(report.read_text()) == {"stage": "two", "batches": batches}
    assert loop.result.steps < 25


def test_fewer_bad_steps_do_not_stop_the_run(make_loop, tmp_path):
    good, other = two_batches()
    loader = [spoiled(good), spoiled(good), other, spoiled(other), spoiled(other), good]
    result = make_loop(loader=loader, total_steps=6, options={"max_bad_steps": 3}).run()
    assert result.skipped_steps == 4
    assert not (tmp_path / "run" / "bad_batch.json").exists()


def masked_batch(folder):
    """Four captions of different lengths with images; two, one, none and one of their words are hidden."""
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    captions = ["a man in red", "the woman walks in a long blue coat", "red", "a man"]
    input_ids = tokenizer(captions, padding=True, return_tensors="pt")["input_ids"]
    positions = torch.tensor([[1, 4], [3, 0], [0, 0], [2, 0]])
    labels = input_ids.gather(1, positions)
    labels[1:, 1] = labels[2] = -100
    masked = input_ids.clone()
    for row, column in ((0, 1), (0, 4), (1, 3), (3, 2)):
        masked[row, column] = tokenizer.bos_token_id - 1
    pairs = two_batches()[0] | {"input_ids": input_ids}
    return pairs | {"masked_input_ids": masked, "mlm_positions": positions, "mlm_labels": labels}


def mlm_module(model, weights=None):
    torch.manual_seed(1)
    sizes = {"embedding_dim": 24, "num_identities": 3, "vocab_size": model.config.text_config.vocab_size}
    return StageModule(model, CombinedObjective(weights or {"mlm": 1.0}, {"mlm": {"layers": 1}}, **sizes))


def test_mlm_equals_one_caption_at_a_time_without_padding(tiny_folder):
    model = PromptCLIPModel.from_pretrained(tiny_folder)
    module, batch = mlm_module(model), masked_batch(tiny_folder)
    costs = []
    for row, length in enumerate((batch["input_ids"].argmax(dim=1) + 1).tolist()):
        words = (batch["mlm_labels"][row] != -100).sum()
        if not words:
            continue
        states = model.text_model(batch["masked_input_ids"][row : row + 1, :length]).last_hidden_state
        image_states = model.vision_model(batch["pixel_values"][row : row + 1]).last_hidden_state
        logits = module.objective.mlm_head(
            model.text_projection(states),
            model.visual_projection(model.vision_model.post_layernorm(image_states)),
            torch.zeros(1, length, dtype=torch.bool),
            batch["mlm_positions"][row : row + 1, :words],
        )
        costs.append(cross_entropy(logits[0], batch["mlm_labels"][row, :words], reduction="none"))
    loss, terms = module(batch)
    assert torch.cat(costs).shape == (4,)
    torch.testing.assert_close(loss, torch.cat(costs).mean(), rtol=1e-5, atol=0)
    assert torch.equal(terms["mlm"], loss)


def test_masked_captions_do_not_reach_the_other_objectives(tiny_folder):
    module = mlm_module(PromptCLIPModel.from_pretrained(tiny_folder), {"sdm": 1.0, "mlm": 1.0})
    batch = masked_batch(tiny_folder)
    clean = {name: value.clone() for name, value in batch.items()}
    terms = module(batch)[1]
    assert all(torch.equal(batch[name], value) for name, value in clean.items())
    other = module(batch | {"masked_input_ids": batch["masked_input_ids"].flip(0)})[1]
    assert torch.equal(terms["sdm"], other["sdm"])
    assert not torch.equal(terms["mlm"], other["mlm"])


def test_mlm_trains_prompts_of_both_towers_in_stage_one_and_sees_them_merged_in_stage_two(tiny_folder):
    torch.manual_seed(2)
    model = get_peft_model(PromptCLIPModel.from_pretrained(tiny_folder), strong())
    module, batch = mlm_module(model), masked_batch(tiny_folder)
    loss = module(batch)[0]
    loss.backward()
    assert trainable(model) and all("clip_prompt_embeddings" in name for name in trainable(model))
    for name, parameter in module.named_parameters():
        assert (parameter.grad is not None and parameter.grad.any()) == parameter.requires_grad, name
    merged = mlm_module(model.merge_and_unload())
    merged.objective.load_state_dict(module.objective.state_dict())
    torch.testing.assert_close(merged(batch)[0], loss, rtol=1e-5, atol=0)


def test_mlm_runs_under_bfloat16_autocast(tiny_folder):
    module, batch = mlm_module(PromptCLIPModel.from_pretrained(tiny_folder)), masked_batch(tiny_folder)
    expected = module(batch)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = module(batch)[0]
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0)


def test_mlm_without_masked_captions_is_refused(tiny_folder):
    module = mlm_module(PromptCLIPModel.from_pretrained(tiny_folder))
    with pytest.raises(ValueError, match="the batch has no masked_input_ids"):
        module(two_batches()[0])


def test_tokens_after_the_end_are_padding_whichever_id_the_config_calls_end():
    input_ids = torch.tensor([[98, 5, 99, 99], [98, 5, 6, 99], [98, 99, 1, 1]])
    expected = [[False, False, False, True], [False] * 4, [False, False, True, True]]
    assert after_end(input_ids, 99).tolist() == after_end(input_ids, 2).tolist() == expected
