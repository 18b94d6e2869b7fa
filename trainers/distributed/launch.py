"""Launch a run on several processes with a named accelerate configuration.

```bash
prompt-clip train --launch ddp --config cuhk_pedes ...
accelerate launch --config_file "$(python -m trainers.launch ddp)" --num_processes 8 -m trainers.two_stage ...
```
"""

import argparse
import importlib.util
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from dataset_scripts.common.installing import install_hint
from dataset_scripts.common.text.documents import read_yaml
from dataset_scripts.common.text.suggest import nearest_name

PROCESSES = "PROMPT_CLIP_PROCESSES"  # set by `launch_command`: how many processes were asked for
RELAUNCHED = "PROMPT_CLIP_TRAIN"  # set by `relaunch`: the arguments as they were typed
# read by torchrun, which accelerate uses: signals to forward, and seconds that processes then have to save
SIGNALS = {"PET_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1", "PET_SHUTDOWN_TIMEOUT": "120"}
LAUNCH_OPTIONS = ("num_processes", "num_machines", "machine_rank", "main_process_ip", "main_process_port")


def launch_names() -> list[str]:
    """Names of the configurations in `trainers/configs/accelerate`."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def launch_file(name: str) -> Path:
    """Return the path of a named accelerate configuration.

    Raises ValueError: an unknown name; the nearest is suggested.
    """
    if name not in launch_names():
        near = nearest_name(name, launch_names(), cutoff=0.5)
        hint = f"did you mean {near!r}? " if near else ""
        raise ValueError(f"launch is {name!r}; {hint}The configurations are {', '.join(launch_names())}")
    return _folder() / f"{name}.yaml"


def _folder() -> Path:
    return Path(str(resources.files("trainers"))) / "configs" / "accelerate"


def relaunch(argv: Sequence[str], module: str = "trainers.two_stage") -> None:
    """Replace this process by the launch that `--launch NAME` asks for; do nothing without it.

    Args:
        argv: arguments of the run, including `--launch` and `LAUNCH_OPTIONS`.
        module: run by every process.

    Raises ValueError: an unknown name, or a launch this machine cannot run.
    """
    launch, others = launch_arguments(argv)
    if launch.launch is None:
        return
    options = {name: value for name in LAUNCH_OPTIONS if (value := getattr(launch, name)) is not None}
    command, environment = launch_command(launch.launch, options)
    os.execve(command[0], [*command, "-m", module, *others], os.environ | environment | {RELAUNCHED: shlex.join(argv)})


def launch_arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split `--launch` and `LAUNCH_OPTIONS` (None if absent) from the other arguments."""
    parser = argparse.ArgumentParser(prog="prompt-clip train", add_help=False, allow_abbrev=False)
    parser.add_argument("--launch")
    for option in LAUNCH_OPTIONS:
        parser.add_argument(f"--{option}", type=str if option == "main_process_ip" else int)
    return parser.parse_known_args(argv)


def launch_command(name: str, options: Mapping[str, int | str]) -> tuple[list[str], dict[str, str]]:
    """Build the command that starts the processes of a configuration, without the module they run.

    Python itself starts a single process, because accelerate's launcher would swallow signals.

    Args:
        name: of a configuration.
        options: some of `LAUNCH_OPTIONS`. `num_processes` counts those of all machines; the default is the
            configuration's, or all GPUs of this machine times the machines.

    Returns:
        The command, and the environment variables to add.

    Raises ValueError: an unknown name, or processes, GPUs and machines that do not fit together.
    """
    import torch  # seconds, and only needed where processes start

    file = launch_file(name)
    config = read_yaml(file)
    machines = int(options.get("num_machines", config["num_machines"]))
    on_cpu = config["use_cpu"] or os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
    gpus = torch.cuda.device_count()
    processes = int(options.get("num_processes", config["num_processes"]))
    if processes == -1:
        processes = gpus * machines
    _check_fit(name, config, processes, machines, None if on_cpu else gpus)
    values = dict(options) | {"num_processes": processes}
    flags = [text for option, value in values.items() for text in (f"--{option}", str(value))]
    environment = {PROCESSES: str(processes)} | ({"ACCELERATE_USE_CPU": "true"} if on_cpu else {})
    if config["distributed_type"] == "NO":
        return [sys.executable], environment
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file)]
    return launcher + flags, environment | SIGNALS


def _check_fit(name: str, config: Mapping[str, Any], processes: int, machines: int, gpus: int | None) -> None:
    """Raise ValueError if a launch cannot run; `gpus` counts this machine's, `None` means CPU."""
    if config["distributed_type"] == "DEEPSPEED" and importlib.util.find_spec("deepspeed") is None:
        raise ValueError(f"launch is {name!r} and DeepSpeed is not installed; run {install_hint('deepspeed')}")
    if gpus == 0:
        raise ValueError(
            f"launch is {name!r}, and torch sees no GPU on this machine; drop --launch to train on the CPU in one "
            "process, or see that torch.cuda.is_available()"
        )
    several = config["distributed_type"] != "NO"
    if several != (processes > 1):
        wanted = "at least 2; for one process drop --launch" if several else "1; for more take ddp"
        raise ValueError(f"num_processes is {processes} and launch {name!r} needs {wanted}")
    if machines < 1 or processes % machines:
        raise ValueError(
            f"num_processes is {processes} on {machines} machines; it counts the processes of all machines together "
            "and must be a multiple of num_machines"
        )
    if gpus is not None and processes // machines > gpus:
        raise ValueError(
            f"num_processes is {processes} on {machines} machine(s), and torch sees {gpus} GPU(s) on this one; one "
            "process needs one GPU: lower num_processes, or look at CUDA_VISIBLE_DEVICES"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m trainers.launch NAME`: print the path of an accelerate configuration."""
    parser = argparse.ArgumentParser(
        prog="python -m trainers.launch",
        description="Print the path of a ready accelerate configuration, for accelerate launch --config_file.",
        epilog=f"configurations: {', '.join(launch_names())}",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="which one")
    parser.add_argument("--list", action="store_true", help="print all names, each with its first line")
    options = parser.parse_args(argv)
    if options.list:
        for name in launch_names():
            first = launch_file(name).read_text(encoding="utf-8").splitlines()[0]
            sys.stdout.write(f"{name:18}{first.lstrip('# ')}\n")
        return 0
    if options.name is None:
        parser.error("give a NAME, or --list")
    try:
        sys.stdout.write(f"{launch_file(options.name)}\n")
    except ValueError as error:
        parser.error(str(error))
    return 0


__all__ = [
    "LAUNCH_OPTIONS",
    "PROCESSES",
    "RELAUNCHED",
    "launch_arguments",
    "launch_command",
    "launch_file",
    "launch_names",
    "relaunch",
]
