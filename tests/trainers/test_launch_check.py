from types import SimpleNamespace

import pytest
from accelerate.utils import DistributedType

from trainers.launch import PROCESSES
from trainers.launch_check import (
    WORLD_SIZE_VARIABLES,
    check_launch,
    check_whole_model,
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


def test_fsdp_that_became_ddp_is_refused(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    cpu = SimpleNamespace(type="cpu")
    sharded = SimpleNamespace(num_processes=1, distributed_type=DistributedType.FSDP, device=cpu)
    check_launch(sharded)
    with pytest.raises(ValueError, match="cannot be saved from parts of a model yet; take --launch ddp"):
        check_whole_model(sharded)
    with pytest.raises(ValueError, match="FSDP was asked for, and accelerate made MULTI_CPU of it on cpu"):
        check_launch(SimpleNamespace(num_processes=1, distributed_type=DistributedType.MULTI_CPU, device=cpu))
