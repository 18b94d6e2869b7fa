"""Gradients in parts equal those of the whole batch."""

import contextlib

import pytest
import torch
from accelerate import Accelerator
from peft import get_peft_model

from modeling_prompt_clip import PromptCLIPModel
from prompting import strong
from trainers.objectives import OBJECTIVES, CombinedObjective
from trainers.stages.gradient_cache import GradientCache, split
from trainers.stages.loop import StageLoop
from trainers.stages.module import StageModule

PAIRS = 8
ALL = dict.fromkeys(OBJECTIVES, 0.5)
CASES = {**{name: {name: 1.0} for name in OBJECTIVES}, "all": ALL}


@pytest.fixture(scope="module")
def batch():
    """Eight pairs of four persons, of which the second half has more masked words, and one pair comes twice."""
    generator = torch.Generator().manual_seed(7)
    input_ids = torch.randint(3, 500, (PAIRS, 8), generator=generator)
    input_ids[:, -1] = 510  # the largest is the end token
    input_ids[6] = input_ids[5]
    pixel_values = torch.randn(PAIRS, 3, 96, 32, generator=generator)
    pixel_values[6] = pixel_values[5]
    labels = torch.full((PAIRS, 3), -100)
    labels[0, 0], labels[4:7] = 7, input_ids[4:7, [1, 3, 6]]
    masked = input_ids.clone()
    masked[4:7, [1, 3, 6]] = 509
    return {
        "pixel_values": pixel_values,
        "input_ids": input_ids,
        "person_ids": torch.tensor([4, 4, 9, 2, 4, 7, 7, 4]),
        "labels": torch.tensor([1, 1, 3, 0, 1, 2, 2, 1]),
        "image_ids": torch.tensor([0, 0, 1, 2, 3, 4, 4, 5]),
        "masked_input_ids": masked,
        "mlm_positions": torch.tensor([1, 3, 6]).expand(PAIRS, 3).clone(),
        "mlm_labels": labels,
    }


@pytest.fixture
def make_module(tiny_folder):
    def make(weights, stage="two", dtype=torch.float32, dropout=0.0, learn_temperature=False):
        torch.manual_seed(0)
        model = PromptCLIPModel.from_pretrained(tiny_folder)
        for tower in (model.text_model, model.vision_model):
            for layer in tower.encoder.layers:
                layer.self_attn.dropout = dropout
        model.logit_scale.requires_grad_(False)
        sizes = {"embedding_dim": 24, "num_identities": 4, "vocab_size": model.config.text_config.vocab_size}
        objective = CombinedObjective(weights, {"mlm": {"layers": 1}}, learn_temperature=learn_temperature, **sizes)
        if stage == "one":
            model = get_peft_model(model, strong())
        return StageModule(model, objective).to(dtype).train()

    return make


def in_float64(batch):
    return {name: rows.double() if rows.is_floating_point() else rows for name, rows in batch.items()}


def gradients(module):
    found = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad(set_to_none=True)
    return found


def whole(module, batch, accelerator=None):
    with accelerator.autocast() if accelerator else contextlib.nullcontext():
        loss, terms = module(batch)
    loss.backward()
    return loss.detach(), terms, gradients(module)


def in_parts(module, batch, size, accelerator=None, batches=1):
    accelerator = accelerator or Accelerator(cpu=True)
    loss, terms = GradientCache(accelerator, accelerator.prepare(module), module, size).backward(batch, batches)
    return loss.detach(), terms, gradients(module)


def check_equal(found, expected, tolerance):
    loss, terms, gradient = found
    expected_loss, expected_terms, expected_gradient = expected
    torch.testing.assert_close(loss, expected_loss, rtol=tolerance, atol=0)
    torch.testing.assert_close(terms, expected_terms, rtol=tolerance, atol=0)
    scale = max(value.norm().item() for value in expected_gradient.values())
    assert scale > 0
    for name, value in expected_gradient.items():
        # in exact arithmetic some are 0, such as those of the keys' biases: compared at the scale of the others
        there = gradient[name] if name in gradient else torch.zeros_like(value)
        assert (there - value).norm().item() <= tolerance * max(value.norm().item(), 0.05 * scale), name
    assert {name for name in gradient if gradient[name].any()} <= expected_gradient.keys()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stage", ["one", "two"])
def test_loss_and_gradients_equal_those_of_the_whole_batch(make_module, batch, case, stage):
    module = make_module(CASES[case], stage)
    check_equal(in_parts(module, batch, 3), whole(module, batch), 1e-5)
    module, values = module.double(), in_float64(batch)
    expected = whole(module, values)
    for size in (1, 3):
        check_equal(in_parts(module, values, size), expected, 1e-10)
    halves = {name: gradient / 2 for name, gradient in expected[2].items()}
    check_equal(in_parts(module, values, 3, batches=2), (*expected[:2], halves), 1e-10)


def test_temperatures_are_learned_as_with_the_whole_batch(make_module, batch):
    module = make_module({"sdm": 1.0, "itc": 1.0, "tal": 1.0}, dtype=torch.float64, learn_temperature=True)
    expected = whole(module, in_float64(batch))
    assert sum("temperature" in name for name in expected[2]) == 3
    check_equal(in_parts(module, in_float64(batch), 3), expected, 1e-10)


def test_bfloat16_is_close(make_module, batch):
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    module = make_module(ALL)
    loss, _, expected = whole(module, batch, accelerator)
    found_loss, _, found = in_parts(module, batch, 3, accelerator)
    torch.testing.assert_close(found_loss, loss, rtol=0.01, atol=0)
    one, two = (torch.cat([values[name].flatten() for name in expected]) for values in (expected, found))
    assert 0 < (one - two).norm() < 0.03 * one.norm()


def test_activations_that_are_computed_anew_change_nothing(make_module, batch):
    module = make_module(ALL)
    expected = whole(module, batch)
    module.model.activation_checkpointing_enable()
    check_equal(in_parts(module, batch, 3), expected, 1e-5)


def test_the_second_encoding_drops_what_the_first_dropped(make_module, batch):
    module = make_module(ALL, dropout=0.3)
    torch.manual_seed(1)
    words = module.masked_words(batch)
    images, texts, mlm = zip(*(module.encode(part, words) for part in split(batch, 3)), strict=True)
    encoded = type(module.encode(split(batch, 1)[0], words))(torch.cat(images), torch.cat(texts), sum(mlm))
    loss, terms = module.compare(encoded, batch)
    loss.backward()
    expected = loss.detach(), terms, gradients(module)
    torch.manual_seed(1)
    check_equal(in_parts(module, batch, 3), expected, 1e-5)
    after = torch.get_rng_state()
    torch.manual_seed(1)
    with torch.no_grad():
        for part in split(batch, 3):
            module.encode(part, words)
    assert torch.equal(torch.get_rng_state(), after)  # as if it had been encoded once


def test_gradients_are_scaled_once_where_a_scaler_is_at_work(make_module, batch):
    """float16 needs a GPU: what its scaler does to the loss is done here by hand."""
    module = make_module(ALL, dtype=torch.float64)
    values = in_float64(batch)
    loss, terms, expected = whole(module, values)
    accelerator = Accelerator(cpu=True)
    accelerator.backward = lambda loss: (1024 * loss).backward()
    scaled = {name: gradient * 1024 for name, gradient in expected.items()}
    check_equal(in_parts(module, values, 3, accelerator), (loss, terms, scaled), 1e-10)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_step_of_the_loop_equals_one_without_parts(make_module, make_args, batch, accumulation):
    def weights(micro_batch_size, sizes):
        seen = []

        def note(module, arguments):
            seen.append(len(arguments[0]["input_ids"]))

        module = make_module({"sdm": 1.0, "id": 0.5})
        module.register_forward_pre_hook(note)
        settings = {"gradient_accumulation_steps": accumulation, "batch_size": PAIRS, "optimizer": "adam"}
        settings |= {"stage_two_learning_rate": 1e-2, "adam_epsilon": 0.1}  # or Adam scales rounding up to a step
        args = make_args(micro_batch_size=micro_batch_size, **settings)
        rows = [batch, {name: value.flip(0) for name, value in batch.items()}] * accumulation
        loop = StageLoop(
            Accelerator(cpu=True),
            args,
            args.stage("two"),
            module,
            rows,
            total_steps=2,
            eval_steps=2,
            evaluate=None,
            keep=lambda step: None,
            log=None,
        )
        loop.run()
        assert seen == sizes * 2 * accumulation
        return {name: parameter.detach() for name, parameter in module.named_parameters()}

    expected = weights(0, [8])
    assert all(torch.equal(value, expected[name]) for name, value in weights(8, [8]).items())
    found = weights(3, [3, 3, 2])
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
