"""FSDP2 and DeepSpeed's ZeRO-2 over gloo on two CPU processes.

accelerate 1.15 makes DDP of FSDP on a CPU, and one process of DeepSpeed. One patch, of the function that chooses the
backend, opens its code to the CPU; everything else is accelerate's, torch's and DeepSpeed's own, set by our ready
configurations.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import datasets
import pytest
import torch
import torch.multiprocessing as multiprocessing
from accelerate import Accelerator
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, set_seed
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from accelerate.utils.other import get_free_port
from peft import get_peft_model
from safetensors.torch import load_file

from modeling_prompt_clip import ClipPromptConfig, PromptCLIPConfig, PromptCLIPModel
from resuming import DieAfter, Killed
from trainers import TwoStageTrainer, two_stage
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.distributed.launch import launch_file
from trainers.distributed.sharding import is_cut, model_to_train, module_state, prepare, whole_weights
from trainers.objectives import CombinedObjective
from trainers.run_folder.metrics_log import read_metrics
from trainers.stages.loop import StageLoop
from trainers.stages.module import StageModule

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
PAIRS, STEPS, BAD_STEP = 8, 4, 2


def join(rank, port, launch):
    """Make this process one of two of a launch, on the CPU; all launches but `two_cpu_processes` need the patches."""
    torch.set_num_threads(1)
    command = ["--config_file", str(launch_file(launch)), "--num_processes", "2", "train.py"]
    options = _validate_launch_command(launch_command_parser().parse_args(command))[0]
    options.deepspeed_fields_from_accelerate_config = ""
    settings = prepare_deepspeed_cmd_env(options)[1] if options.use_deepspeed else prepare_multi_gpu_env(options)
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    cpu = {"WORLD_SIZE": "2", "ACCELERATE_TORCH_DEVICE": "cpu", "DS_ACCELERATOR": "cpu"}
    os.environ.update(settings | meeting | cpu)
    if launch == "two_cpu_processes":
        return
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
    two_stage.Accelerator = lambda cpu, **options: Accelerator(**options)


def on_two(work, launch, *arguments):
    """Have two processes of a launch do some work, which is given the rank and the arguments."""
    # a fork need not import everything again, but cannot use CUDA, nor DeepSpeed for another device than was found
    method = "spawn" if torch.cuda.is_available() or launch == "deepspeed_zero2" else "fork"
    arguments = (get_free_port(), launch, work, arguments)
    multiprocessing.start_processes(joined, args=arguments, nprocs=2, start_method=method)


def joined(rank, port, launch, work, arguments):
    AcceleratorState._reset_state(reset_partial_state=True)  # of the process that was forked
    join(rank, port, launch)
    work(rank, *arguments)
    if torch.distributed.is_initialized():  # the end of a run does so itself
        torch.distributed.destroy_process_group()


def tiny_model(stage):
    set_seed(0)
    text = TOWER | {"vocab_size": 100, "bos_token_id": 98, "eos_token_id": 2}
    vision = TOWER | {"image_size": [64, 32], "patch_size": 16}
    model = PromptCLIPModel(PromptCLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    if stage == "one":
        return get_peft_model(model, ClipPromptConfig())
    model.requires_grad_(True)
    model.logit_scale.requires_grad_(False)
    return model


def batches(rank, world):
    draw = torch.Generator().manual_seed(5)
    share = slice(rank * PAIRS // world, (rank + 1) * PAIRS // world)
    for step in range(1, STEPS + 1):
        pixels = torch.randn(PAIRS, 3, 64, 32, generator=draw)
        if step == BAD_STEP:
            pixels[-1] = torch.nan  # seen by the last process alone
        ids = torch.randint(1, 98, (PAIRS, 12), generator=draw)
        ids[:, -1] = 99
        persons = torch.arange(PAIRS)
        names = ("person_ids", "labels", "image_ids")
        yield {"pixel_values": pixels[share], "input_ids": ids[share], **dict.fromkeys(names, persons[share])}


def train(accelerator, stage, folder):
    """Losses, a caption's embedding in the middle of it all, and the weights after a few steps."""
    settings = {"report_to": "none", "log_steps": 1, "output_dir": str(folder), "stage_two_learning_rate": 1e-3}
    # a large epsilon: Adam would blow the rounding of gradients that are zero in theory up to full steps
    args = TwoStageTrainingArguments(**settings, adam_epsilon=1e-2, mixed_precision=accelerator.mixed_precision)
    objective = CombinedObjective({"sdm": 1.0, "id": 1.0}, embedding_dim=16, num_identities=PAIRS)
    module = StageModule(tiny_model(stage), objective)
    losses = []
    loop = StageLoop(
        accelerator,
        args,
        args.stage(stage),
        module,
        batches(accelerator.process_index, accelerator.num_processes),
        total_steps=STEPS,
        eval_steps=STEPS,
        evaluate=None,
        keep=lambda step: None,
        log=SimpleNamespace(write=lambda record: losses.append(record.get("loss", 0.0))),
    )
    assert loop.run().skipped_steps == 1
    model = accelerator.unwrap_model(loop.module).model
    caption = torch.tensor([[98, 3, 4, 99]])
    with whole_weights(loop.module), torch.no_grad():
        embedding = model.get_text_features(caption).pooler_output
    return losses, embedding, module_state(accelerator, model)


def steps(rank, stage, folder, precision):
    accelerator = two_stage.Accelerator(cpu=True, mixed_precision=precision)
    losses, embedding, weights = train(accelerator, stage, folder)
    answer = {"kind": accelerator.distributed_type.value, "losses": losses, "embedding": embedding, "weights": weights}
    torch.save(answer, folder / f"rank_{rank}.pt")


CASES = [("fsdp2", "one", "no"), ("fsdp2", "two", "bf16"), ("deepspeed_zero2", "two", "no")]


@pytest.mark.parametrize(
    ("launch", "stage", "precision"),
    [("fsdp2", "two", "no"), *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES)],
)
def test_two_processes_with_parts_of_a_model_train_as_one_whole(launch, stage, precision, tmp_path):
    """Losses, embeddings and weights; a step of which one process has a bad image changes nothing on either."""
    if launch == "deepspeed_zero2":
        pytest.importorskip("deepspeed")

    def answers(launch):
        on_two(steps, launch, stage, tmp_path, precision)
        return [torch.load(tmp_path / f"rank_{rank}.pt", weights_only=True) for rank in range(2)]

    if precision == "no":
        losses, embedding, weights = train(Accelerator(cpu=True), stage, tmp_path)
    else:  # in half precision a sum of another number of rows is another
        kind, losses, embedding, weights = answers("two_cpu_processes")[0].values()
        assert kind == "MULTI_CPU"
    first, second = answers(launch)
    assert first["kind"] == {"fsdp2": "FSDP", "deepspeed_zero2": "DEEPSPEED"}[launch]
    # in half precision rounding differs where sums of gradients are formed in another order
    tolerance, of_embedding, of_weights = (1e-5, 1e-4, 1e-5) if precision == "no" else (1e-3, 3e-2, 3e-4)
    for there in (first, second):
        torch.testing.assert_close(there["losses"], losses, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(there["embedding"], embedding, rtol=1e-3, atol=of_embedding)
    assert first["weights"].keys() == weights.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(first["weights"][name], weight, rtol=1e-3, atol=of_weights)
    for name, weight in tiny_model(stage).named_parameters():
        assert torch.equal(first["weights"][name], weight) != weight.requires_grad, name


def run(args, data, killed_at=None):
    """A whole run; it ends after a step of a stage, if that is given.

    Returns:
        The trainer, and whether its launch cuts something.
    """
    callbacks = [DieAfter(*killed_at)] if killed_at else []
    trainer = TwoStageTrainer(args, splits=dict(datasets.load_from_disk(data)), callbacks=callbacks)
    cut = is_cut(trainer.accelerator)
    try:
        trainer.train()
    except Killed:
        trainer.accelerator.wait_for_everyone()
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    return trainer, cut


def runs(rank, arguments):
    for each in arguments:
        trainer, cut = run(*each)
        assert cut
        if rank and each[-1] is None:  # the others know the result, too
            saved = load_file(Path(trainer.args.output_dir) / "model" / "model.safetensors")
            assert all(torch.equal(saved[name], weight) for name, weight in trainer.model.named_parameters())


@pytest.fixture(scope="module")
def data(splits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "splits"
    datasets.DatasetDict(splits).save_to_disk(folder)
    return str(folder)


def outcome(folder):
    weights = load_file(folder / "adapter" / "adapter_model.safetensors")
    weights |= load_file(folder / "model" / "model.safetensors")
    records = [record for record in read_metrics(folder / "metrics.jsonl") if record["split"] == "train"]
    return weights, [record["loss"] for record in records], json.loads((folder / "results.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("launch", ["fsdp2", "deepspeed_zero2"])
def test_a_whole_run_and_one_that_was_killed_in_both_stages(launch, make_args, data, tmp_path):
    if launch == "deepspeed_zero2":
        pytest.importorskip("deepspeed")
    settings = {
        "adam_epsilon": 1e-4,
        "resume": "auto",
        "eval_steps": 3,
        "save_steps": 2,
        "stage_one_max_steps": 5,
        "stage_two_max_steps": 5,
        "gradient_accumulation_steps": 2,
        "stage_one_objectives": "sdm=1,id=0.5",
        "stage_two_objectives": "sdm=1,id=0.5",
    }
    run(make_args(**settings, batch_size=8, output_dir=str(tmp_path / "one")), data)
    whole, killed = (
        make_args(**settings, batch_size=4, output_dir=str(tmp_path / name)) for name in ("two", "killed")
    )
    ends = ((3, "one"), (3, "two"), None)
    on_two(runs, launch, [(whole, data, None)])
    on_two(runs, launch, [(killed, data, end) for end in ends])
    weights, losses, results = outcome(tmp_path / "one")
    for folder in (tmp_path / "two", tmp_path / "killed"):
        cut_weights, cut_losses, cut_results = outcome(folder)
        torch.testing.assert_close(cut_losses, losses, rtol=1e-5, atol=1e-5)
        assert cut_weights.keys() == weights.keys()
        for name, weight in weights.items():  # which have moved by 1e-3
            torch.testing.assert_close(cut_weights[name], weight, rtol=0, atol=1e-5)
        assert [entry["metrics"] for entry in cut_results] == [entry["metrics"] for entry in results]
    whole, killed = (outcome(tmp_path / name)[0] for name in ("two", "killed"))
    assert all(torch.equal(killed[name], weight) for name, weight in whole.items())


@pytest.fixture
def sharded():
    """An accelerator of FSDP2, as far as it is asked here."""
    plugin = SimpleNamespace()
    return SimpleNamespace(
        distributed_type=DistributedType.FSDP,
        device=torch.device("cpu"),
        state=SimpleNamespace(fsdp_plugin=plugin),
        prepare=lambda *both: both,
    )


def test_a_trained_scalar_is_refused_and_a_fixed_one_left_whole(sharded, make_args):
    module = torch.nn.Linear(2, 2)
    module.temperature = torch.nn.Parameter(torch.tensor(1.0))
    with pytest.raises(ValueError, match="temperature is a trained scalar.*ddp"):
        prepare(sharded, make_args(), module, None)
    module.temperature.requires_grad_(False)
    assert prepare(sharded, make_args(), module, None) == (module, None)
    plugin = sharded.state.fsdp_plugin
    assert [parameter for part in plugin.ignored_modules for parameter in part.parameters()] == [module.temperature]
    assert plugin.mixed_precision_policy is None


@pytest.mark.parametrize(("precision", "dtype"), [("no", torch.float32), ("bf16", torch.bfloat16)])
def test_a_cut_module_computes_in_the_precision_of_the_run(precision, dtype, sharded, make_args):
    module, _ = prepare(sharded, make_args(mixed_precision=precision), torch.nn.Linear(2, 2), None)
    assert module(torch.ones(1, 2)).dtype == dtype and module.weight.dtype == torch.float32


def test_what_is_cut_is_a_copy(sharded):
    module = torch.nn.Linear(2, 2)
    assert model_to_train(SimpleNamespace(distributed_type=DistributedType.NO, device="cpu"), module) is module
    copied = model_to_train(sharded, module)
    assert copied is not module and torch.equal(copied.weight, module.weight)


def test_a_whole_module_stays_as_it_is():
    module = torch.nn.Linear(2, 2)
    before = module.weight
    with whole_weights(module):
        assert module.weight is before
