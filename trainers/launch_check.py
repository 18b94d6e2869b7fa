"""Whether a launch became what was asked for: accelerate turns some launches into smaller ones without a word."""

import os
from collections.abc import Mapping

from accelerate import Accelerator
from accelerate.utils import DistributedType

from trainers.launch import PROCESSES

# what the starters of processes export, the innermost first
WORLD_SIZE_VARIABLES = (
    "WORLD_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "SLURM_STEP_NUM_TASKS",
)


def expected_processes(environment: Mapping[str, str]) -> tuple[int, str] | None:
    """How many processes whoever started this one asked for, and how that is known; `None` where nothing tells.

    The number is the least possible one where accelerate says "several" and no more: `accelerate launch --cpu
    --num_processes 2` (and a file with `MULTI_CPU`) starts one process, and only the address at which several would
    have met is left in the environment.

    Raises:
        ValueError: a variable that is no number.
    """
    for variable in (PROCESSES, *WORLD_SIZE_VARIABLES):
        if text := environment.get(variable):
            if not text.isdecimal():
                raise ValueError(f"the environment variable {variable} is {text!r}; it must be a number of processes")
            return int(text), f"{variable}={text} in its environment asks for {text}"
    if "ACCELERATE_MIXED_PRECISION" in environment and "MASTER_ADDR" in environment:
        return 2, "accelerate launch was asked for several (MASTER_ADDR is set; unset it if one is what you want)"
    return None


def check_world_size(processes: int, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a run of another number of processes than was asked for.

    Args:
        processes: how many there are.
        environment: variables of this process.

    Raises:
        ValueError: another number was asked for, by any launcher that leaves a trace.
    """
    expected = expected_processes(environment)
    if expected is not None and expected[0] != processes:
        raise ValueError(
            f"this run is made of {processes} process(es), but {expected[1]}. Start it with "
            "prompt-clip train --launch NAME or with torchrun. On a machine without GPU: --launch two_cpu_processes, "
            "and never accelerate launch --cpu, which starts one process whatever --num_processes says"
        )


def check_launch(accelerator: Accelerator) -> None:
    """Refuse a run that its launcher silently made into another: fewer processes, or DDP instead of FSDP.

    Raises:
        ValueError: the number of processes or their kind is not what was asked for.
    """
    check_world_size(accelerator.num_processes)
    wants_fsdp = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    if wants_fsdp and accelerator.distributed_type != DistributedType.FSDP:
        raise ValueError(
            f"FSDP was asked for, and accelerate made {accelerator.distributed_type.value} of it on "
            f"{accelerator.device.type}; FSDP needs GPUs: take --launch two_cpu_processes on a CPU"
        )


def check_whole_model(accelerator: Accelerator) -> None:
    """Refuse launches that cut the model into parts: its steps would do, its checkpoints and stages do not yet.

    Raises:
        ValueError: the launch is one of FSDP or DeepSpeed.
    """
    if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        raise ValueError(
            f"this launch is one of {accelerator.distributed_type.value}, and a two-stage run cannot be saved from "
            "parts of a model yet; take --launch ddp (CLIP ViT-B/16 and its optimizer fit one GPU)"
        )


__all__ = ["check_launch", "check_whole_model", "check_world_size", "expected_processes"]
