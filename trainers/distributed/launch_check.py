"""Check that a launch became what was asked for: accelerate silently shrinks some."""

import os
from collections.abc import Mapping

from accelerate import Accelerator
from accelerate.utils import DistributedType

from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.distributed.launch import PROCESSES

# what the starters of processes export, the innermost first
WORLD_SIZE_VARIABLES = (
    "WORLD_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "SLURM_STEP_NUM_TASKS",
)

# settings that launches which cut model or optimizer into parts do not take, and why
_WHOLE_WEIGHTS = "which needs weights that are whole, and they are cut into parts"
_CUT = {
    "mixed_precision": "which was not tried",
    "compile": "which was not tried",
    "micro_batch_size": _WHOLE_WEIGHTS,
    "ema_decay": _WHOLE_WEIGHTS,
    "stage_two_lora_rank": _WHOLE_WEIGHTS,
    "coupled_prompts": _WHOLE_WEIGHTS,
}
_UNTRIED = {
    DistributedType.FSDP: _CUT,
    # temperatures are limited in the model, and DeepSpeed's optimizer would write its own over them
    DistributedType.DEEPSPEED: {**_CUT, "learn_temperature": "which was not tried"},
}
_ALLOWED = {("mixed_precision", "no"), ("mixed_precision", "bf16")}


def expected_processes(environment: Mapping[str, str]) -> tuple[int, str] | None:
    """Return how many processes the launcher asked for, and how that is known; `None` if nothing tells.

    If accelerate only says "several", it is the smallest possible number: `accelerate launch --cpu --num_processes 2`
    (or a file with `MULTI_CPU`) starts one process and leaves only the address where several would have met.

    Raises ValueError: a variable that is no number.
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
    """Check that a run has the number of processes that was asked for.

    Args:
        processes: how many there are.
        environment: variables of this process.

    Raises ValueError: a launcher that leaves a trace asked for another number.
    """
    expected = expected_processes(environment)
    if expected is not None and expected[0] != processes:
        raise ValueError(
            f"this run is made of {processes} process(es), but {expected[1]}. Start it with "
            "prompt-clip train --launch NAME or with torchrun. On a machine without GPU: --launch two_cpu_processes, "
            "and never accelerate launch --cpu, which starts one process whatever --num_processes says"
        )


def check_launch(accelerator: Accelerator) -> None:
    """Check that the launcher did not change the run, and that the device has the precision.

    Raises ValueError: the number or kind of processes is not what was asked for, or fp16 without a GPU.
    """
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ValueError("mixed_precision is fp16, which needs a GPU, and there is none here; take bf16 or no")
    check_world_size(accelerator.num_processes)
    for kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        wanted = os.environ.get(f"ACCELERATE_USE_{kind.value}", "").lower() == "true"
        if wanted and accelerator.distributed_type != kind:
            raise ValueError(
                f"{kind.value} was asked for, and accelerate made {accelerator.distributed_type.value} of it on "
                f"{accelerator.device.type}; {kind.value} needs GPUs: take --launch two_cpu_processes on a CPU"
            )


def check_sharding(accelerator: Accelerator, args: TwoStageTrainingArguments) -> None:
    """Refuse sharded launches with settings that were never tried there.

    Raises ValueError: FSDP's first version, another ZeRO stage than 2, or settings that a sharded launch cannot serve.
    """
    kind = accelerator.distributed_type
    if kind == DistributedType.FSDP and not accelerator.is_fsdp2:
        raise ValueError("this launch is one of FSDP version 1; set fsdp_version: 2, or take --launch fsdp2")
    if kind == DistributedType.DEEPSPEED and (stage := accelerator.state.deepspeed_plugin.zero_stage) != 2:
        raise ValueError(f"this launch is one of DeepSpeed's zero_stage {stage}; set 2, or take --launch fsdp2")
    for name, reason in _UNTRIED.get(kind, {}).items():
        value = getattr(args, name)
        if value and (name, value) not in _ALLOWED:
            raise ValueError(f"{name} is {value!r}, {reason} under {kind.value}; leave it out, or take --launch ddp")


__all__ = ["check_launch", "check_sharding", "check_world_size", "expected_processes"]
