"""`prompt-clip env`: versions, devices and the precision that pays."""

import json
import platform
import statistics
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from dataset_scripts.common.parsers.env import parse
from modeling_prompt_clip import __version__

__all__ = ["environment", "main"]

PACKAGES = (
    *("torch", "transformers", "peft", "accelerate", "huggingface_hub", "safetensors", "numpy", "pillow"),
    *("datasets", "evaluate", "matplotlib", "tensorboard"),
    *("onnx", "onnxruntime", "deepspeed", "sentence-transformers"),
)
SIZE, ROUNDS = 1024, 7  # of the matrices that are multiplied, and how often


def main(argv: list[str] | None = None) -> int:
    """Print the environment as text, or as JSON."""
    args = parse(argv)
    found = environment()
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if args.json else _as_text(found))
    return 0


def environment() -> dict[str, Any]:
    """Describe versions and devices as JSON values.

    `packages` has None for what is not installed. `bf16_speed` is, by device, how many times as fast as in float32 two
    1024 x 1024 matrices are multiplied, the median of seven; below 1, `--mixed_precision bf16` costs time.
    """
    devices = {"cpu": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"}
    devices |= {f"cuda:{n}": torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())}
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    return {
        "prompt-clip": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": devices,
        "threads": torch.get_num_threads(),
        "bf16_speed": {name: round(_bf16_speed(torch.device(name)), 2) for name in devices},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _bf16_speed(device: torch.device) -> float:
    """Time of a float32 product over a bf16 one, in turns, so other work hits both."""
    single = torch.ones(SIZE, SIZE, device=device)
    half = single.bfloat16()
    ratios = [_seconds(single) / _seconds(half) for _ in range(ROUNDS + 1)]
    return statistics.median(ratios[1:])  # the first chooses kernels


def _seconds(matrix: torch.Tensor) -> float:
    started = time.perf_counter()
    (matrix @ matrix)[0, 0].item()  # waits for the device
    return time.perf_counter() - started


def _as_text(found: dict[str, Any]) -> str:
    versions = {"prompt-clip": found["prompt-clip"], "python": found["python"]} | found["packages"]
    lines = [f"{name:22} {number or 'not installed'}" for name, number in versions.items()]
    lines += [f"{'system':22} {found['system']}, {found['threads']} torch threads"]
    lines += [
        f"{name:22} {words}; bf16 multiplies {found['bf16_speed'][name]} times as fast as float32"
        for name, words in found["devices"].items()
    ]
    return "\n".join(lines) + "\n"
