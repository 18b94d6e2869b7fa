import contextlib
from types import SimpleNamespace

import pytest
from accelerate.utils import DistributedType

from trainers.distributed.launch import PROCESSES
from trainers.distributed.launch_check import (
    WORLD_SIZE_VARIABLES,
    check_launch,
    check_sharding,
    check_world_size,
    expected_processes,
)

ACCELERATE = {"ACCELERATE_MIXED_PRECISION": "no"}
MEETING_POINT = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize("variable", [PROCESSES, *WORLD_SIZE_VARIABLES])
def test_any_launcher_that_says_a_number_is_held_to_it(variable):
    check_world_size(4, {variable: "4"})
    for processes in (1, 2):
        with pytest.raises(ValueError, match=f"made of {processes} process.*{variable}=4.*--launch"):
            check_world_size(processes, {variable: "4"})


def test_accelerate_that_starts_one_of_several_is_found_out():
    with pytest.raises(ValueError, match=r"made of 1 process.*accelerate launch was asked for several.*torchrun"):
        check_world_size(1, ACCELERATE | MEETING_POINT)


@pytest.mark.parametrize(
    "environment", [{}, ACCELERATE, MEETING_POINT, ACCELERATE | MEETING_POINT | {"WORLD_SIZE": "1"}]
)
def test_a_plain_single_process_is_left_alone(environment):
    check_world_size(1, environment)


def test_our_word_counts_most_then_the_innermost_launcher():
    assert expected_processes({"SLURM_STEP_NUM_TASKS": "2", "WORLD_SIZE": "16"})[0] == 16
    assert expected_processes({PROCESSES: "8", "WORLD_SIZE": "4"})[0] == 8
    assert expected_processes({}) is None


def test_a_variable_that_is_no_number_is_named():
    with pytest.raises(ValueError, match="WORLD_SIZE is 'two'"):
        expected_processes({"WORLD_SIZE": "two"})


def on_cpu(kind, mixed_precision="no"):
    cpu = SimpleNamespace(type="cpu")
    return SimpleNamespace(num_processes=1, distributed_type=kind, device=cpu, mixed_precision=mixed_precision)


def test_fp16_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    check_launch(on_cpu(DistributedType.NO, "bf16"))
    with pytest.raises(ValueError, match="mixed_precision is fp16, which needs a GPU.*take bf16 or no"):
        check_launch(on_cpu(DistributedType.NO, "fp16"))


@pytest.mark.parametrize("kind", [DistributedType.FSDP, DistributedType.DEEPSPEED])
def test_parts_that_became_ddp_are_refused(kind, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv(f"ACCELERATE_USE_{kind.value}", "true")
    check_launch(on_cpu(kind))
    with pytest.raises(ValueError, match=f"{kind.value} was asked for, and accelerate made MULTI_CPU of it on cpu"):
        check_launch(on_cpu(DistributedType.MULTI_CPU))


def launch(kind, version=2):
    state = SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=version))
    return SimpleNamespace(distributed_type=kind, is_fsdp2=version == 2, state=state)


@pytest.mark.parametrize("kind", [DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MULTI_GPU])
def test_cutting_takes_only_what_was_tried(kind, make_args):
    check_sharding(launch(kind), make_args(mixed_precision="bf16", gradient_checkpointing=True))
    cuts = kind != DistributedType.MULTI_GPU
    untried = {"mixed_precision": "fp16", "compile": True, "micro_batch_size": 2}
    untried |= {"ema_decay": 0.9, "stage_two_lora_rank": 4, "coupled_prompts": True}
    if kind == DistributedType.DEEPSPEED:
        untried["learn_temperature"] = True
    for name, value in untried.items():
        refused = pytest.raises(ValueError, match=f"{name} is {value!r}, .* under {kind.value}; .*--launch ddp")
        with refused if cuts else contextlib.nullcontext():
            check_sharding(launch(kind), make_args(**{name: value}))


@pytest.mark.parametrize(
    ("kind", "message"), [(DistributedType.FSDP, "FSDP version 1"), (DistributedType.DEEPSPEED, "zero_stage 1")]
)
def test_other_ways_of_cutting_are_refused(kind, message, make_args):
    with pytest.raises(ValueError, match=message):
        check_sharding(launch(kind, version=1), make_args())
