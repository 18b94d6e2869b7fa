"""What must hold on two processes: one launch of both computes everything, and the tests look at what it found."""

import json
import os
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as multiprocessing
from accelerate import Accelerator
from peft import get_peft_model
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from transformers import TrainerCallback

from modeling_prompt_clip import PromptCLIPModel
from prompting import strong
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.distributed.gather import gather_ids, gather_with_gradient, process_index, world_size
from trainers.objectives import OBJECTIVES, CombinedObjective
from trainers.stages.gradient_cache import GradientCache
from trainers.stages.loop import StageLoop
from trainers.stages.module import StageModule
from trainers.stages.starting_model import lora_model

PAIRS = 8
SOFT = {"same_image_weight": 1.0, "same_person_weight": 0.3}
# weights and options of the objective, and whether prompts are trained, as in stage one
CASES = {
    **{name: ({name: 1.0}, {}, False) for name in OBJECTIVES},
    "a loss of one's own": ({"own_losses:soft_triplet": 1.0, "sdm": 0.5}, {}, False),
    "soft sdm": ({"sdm": 1.0}, {"sdm": SOFT}, False),
    "soft itc": ({"itc": 1.0}, {"itc": SOFT}, False),
    "mlm without masked words": ({"mlm": 1.0}, {}, False),
    "stage one": ({"sdm": 1.0, "id": 0.5, "citc": 0.1, "mlm": 0.2}, {}, True),
    "coupled prompts": ({"sdm": 1.0}, {}, True),
    "low-rank updates": ({"sdm": 1.0}, {}, False),
    "learned temperatures": ({"sdm": 1.0, "itc": 0.5, "tal": 0.5}, {}, False),
}


def global_batch(masked_words: bool = True) -> dict[str, torch.Tensor]:
    """Eight pairs of five persons; the first half, which is rank 0's, has one masked word, the second has nine."""
    generator = torch.Generator().manual_seed(7)
    input_ids = torch.randint(3, 500, (PAIRS, 8), generator=generator)
    input_ids[:, -1] = 510  # the largest is the end token
    positions, labels = torch.zeros(PAIRS, 3, dtype=torch.int64), torch.full((PAIRS, 3), -100)
    if masked_words:
        positions[:] = torch.tensor([1, 3, 6])
        labels[0, 0], labels[4:7] = input_ids[0, 1], input_ids[4:7, [1, 3, 6]]
    masked_input_ids = input_ids.clone()
    masked_input_ids[0, 1], masked_input_ids[4:7, [1, 3, 6]] = 509, 509
    return {
        "pixel_values": torch.randn(PAIRS, 3, 96, 32, generator=generator),
        "input_ids": input_ids,
        "person_ids": torch.tensor([4, 4, 9, 2, 4, 7, 7, 4]),
        "labels": torch.tensor([1, 1, 3, 0, 1, 2, 2, 1]),
        "image_ids": torch.tensor([0, 0, 1, 2, 3, 4, 4, 5]),
        "masked_input_ids": masked_input_ids,
        "mlm_positions": positions,
        "mlm_labels": labels,
    }


def share_of(batch, rank, world):
    return {name: rows[rank * PAIRS // world : (rank + 1) * PAIRS // world] for name, rows in batch.items()}


def loss_and_gradients(case, folder, rank=0, world=1, in_parts=False):
    """The loss of the global batch, and the gradients that this process sees; in parts, of the mean of two batches.

    In float64: in float32 rounding alone comes to 1.5e-5 of a gradient for some weights.
    """
    weights, options, prompts = CASES[case]
    torch.manual_seed(0)
    model = PromptCLIPModel.from_pretrained(folder)
    model.logit_scale.requires_grad_(False)
    sizes = {"embedding_dim": 24, "num_identities": 4, "vocab_size": model.config.text_config.vocab_size}
    if prompts:
        coupled = case == "coupled prompts"
        model = get_peft_model(model, strong(3, 3 if coupled else 5, coupled_prompts=coupled))
    if case == "low-rank updates":
        model = lora_model(model, rank=2, alpha=4.0)
    learn_temperature = case == "learned temperatures"
    module = StageModule(model, CombinedObjective(weights, options, learn_temperature=learn_temperature, **sizes))
    module.to(torch.float64)
    batch = share_of(global_batch(case != "mlm without masked words"), rank, world)
    batch["pixel_values"] = batch["pixel_values"].to(torch.float64)
    if in_parts:
        accelerator = Accelerator(cpu=True)
        prepared = accelerator.prepare(module)
        cache = GradientCache(accelerator, prepared, module, micro_batch_size=3)  # of four, then one
        with accelerator.no_sync(prepared):
            cache.backward(batch, batches=2)
        loss, _ = cache.backward(batch, batches=2)
    else:
        trained = DistributedDataParallel(module) if world > 1 else module
        loss = trained(batch)[0]
        loss.backward()
    return loss.detach(), {name: p.grad for name, p in module.named_parameters() if p.requires_grad}


def small_loop(folder, output_dir, batches, evaluate, **settings):
    """A loop of stage two over these batches."""
    torch.manual_seed(0)
    model = PromptCLIPModel.from_pretrained(folder)
    model.logit_scale.requires_grad_(False)
    args = TwoStageTrainingArguments(output_dir=output_dir, log_steps=settings.pop("log_steps", 1), report_to="none")
    return StageLoop(
        Accelerator(cpu=True),
        args,
        args.stage("two"),
        StageModule(model, CombinedObjective({"sdm": 1.0})),
        batches,
        total_steps=len(batches),
        evaluate=lambda: evaluate(model),
        keep=lambda step: None,
        log=None,
        **settings,
    )


def run_with_bad_images(folder, output_dir, rank, world):
    """Weights after each step of a run in which steps 2, 4 and 5 see a bad image, which rank 1 holds."""
    good = share_of(global_batch(), rank, world)
    bad = good | {"pixel_values": good["pixel_values"].clone()}
    if rank == 1:
        bad["pixel_values"][2, 0, 0, 0] = torch.nan
    weights = []

    def evaluate(model):
        weights.append(model.visual_projection.weight.detach().clone())
        return {"R@1": 0.0}

    batches = [good, bad, good, bad, bad]
    loop = small_loop(folder, output_dir, batches, evaluate, eval_steps=1, max_bad_steps=2)
    try:
        loop.run()
    except ValueError as error:
        return torch.stack(weights), str(error)
    return torch.stack(weights), ""


class AsksOnOneProcess(TrainerCallback):
    """Process 1 asks for an evaluation after step 1 and for the end after step 3; the others for nothing."""

    def on_step_end(self, args, state, control, **kwargs):
        if not state.is_world_process_zero:
            control.should_evaluate |= state.global_step == 1
            control.should_training_stop |= state.global_step == 3


def steps_with_a_callback(folder, output_dir, rank, world):
    """Steps that were evaluated and how many were run, where losses are logged every second step."""
    evaluated = []

    def evaluate(model):
        evaluated.append(loop.result.steps)
        return {"R@1": 0.0}

    batches = [share_of(global_batch(), rank, world)] * 8
    loop = small_loop(folder, output_dir, batches, evaluate, eval_steps=8, log_steps=2, callbacks=[AsksOnOneProcess()])
    return evaluated, loop.run().steps


def one_process(rank, world, folder, output_dir):
    torch.set_num_threads(1)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # accelerate asks for one though all have met already
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), **address)
    distributed.init_process_group("gloo", init_method=f"file://{output_dir}/meet", rank=rank, world_size=world)
    found = {case: loss_and_gradients(case, folder, rank, world) for case in CASES}
    found["in parts"] = {case: loss_and_gradients(case, folder, rank, world, in_parts=True) for case in CASES}
    found["place"] = process_index(), world_size()
    found["bad steps"] = run_with_bad_images(folder, str(output_dir), rank, world)
    found["callback"] = steps_with_a_callback(folder, str(output_dir), rank, world)
    torch.save(found, output_dir / f"rank_{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory):
    """What each of two processes found, and their run folder."""
    output_dir = tmp_path_factory.mktemp("two_processes")
    # a fork need not import everything again, but cannot use CUDA or what has used it
    method = "spawn" if torch.cuda.is_available() else "fork"
    multiprocessing.start_processes(one_process, args=(2, tiny_folder, output_dir), nprocs=2, start_method=method)
    return [torch.load(output_dir / f"rank_{rank}.pt", weights_only=True) for rank in range(2)], output_dir


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients_on_two_ranks_equal_one_process(two_processes, tiny_folder, case, in_parts):
    tolerance = 1e-10
    loss, gradients = loss_and_gradients(case, tiny_folder)
    # in exact arithmetic some gradients are 0, such as those of the keys' biases, and others are small sums of large
    # terms, such as a temperature's: compared at the scale of the others
    scale = torch.stack([gradient.norm() for gradient in gradients.values()]).max().item()
    assert (scale > 0) == (case != "mlm without masked words")
    for found in two_processes[0]:
        there, gradients_there = found["in parts"][case] if in_parts else found[case]
        torch.testing.assert_close(there, loss, rtol=tolerance, atol=0)
        assert gradients_there.keys() == gradients.keys()
        for name, gradient in gradients.items():
            difference = (gradients_there[name] - gradient).norm().item()
            assert difference <= tolerance * max(gradient.norm().item(), 0.01 * scale), name


def test_two_processes_know_their_places(two_processes):
    assert [found["place"] for found in two_processes[0]] == [(0, 2), (1, 2)]


def test_a_bad_image_on_one_rank_skips_the_step_on_both(two_processes):
    (weights, error), (weights_there, error_there) = (found["bad steps"] for found in two_processes[0])
    assert torch.equal(weights, weights_there)
    first, second, third, fourth = weights
    assert torch.equal(first, second) and torch.equal(third, fourth)
    assert not torch.equal(second, third)
    assert error == error_there and "2 steps in a row (max_bad_steps), 4 to 5" in error


def test_the_images_of_all_ranks_are_reported(two_processes):
    report = json.loads((two_processes[1] / "bad_batch.json").read_text())
    assert report["batches"] == [{"step": step, "image_ids": [0, 0, 1, 2, 3, 4, 4, 5]} for step in (4, 5)]


def test_what_a_callback_of_one_process_asks_for_all_do_where_losses_are_logged(two_processes):
    assert [found["callback"] for found in two_processes[0]] == [([2, 4], 4)] * 2


def test_without_processes_nothing_is_copied():
    embeds, ids = torch.randn(3, 2), torch.arange(3)
    assert gather_with_gradient(embeds) is embeds
    assert gather_ids(ids) is ids
    assert (process_index(), world_size()) == (0, 1)


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_own_slice_gets_the_gradient(rank, monkeypatch):
    """The backward of the gather picks this rank's rows of the summed gradient."""
    gathered = torch.arange(8.0).reshape(4, 2)
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "get_rank", lambda: rank)
    monkeypatch.setattr(distributed, "all_gather", lambda parts, own: [part.copy_(own) for part in parts])
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: tensor.mul_(2))
    own = torch.zeros(2, 2, requires_grad=True)
    (gather_with_gradient(own) * gathered).sum().backward()
    torch.testing.assert_close(own.grad, 2 * gathered[2 * rank : 2 * rank + 2])
