"""The record of a benchmark: question, command, machine, versions, date and results."""

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def processor_name() -> str:
    """The processor's name, from Linux or from Python."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def gpu() -> dict[str, str]:
    """Name and driver of the NVIDIA GPU, if there is one."""
    if (program := shutil.which("nvidia-smi")) is None:
        return {}
    query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return {"gpu": subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()}


def write_record(name: str, question: str, packages: tuple[str, ...], **results: Any) -> None:
    """Write `results/NAME.json` and print it.

    Args:
        name: of the file, without its ending.
        question: what the script answers, in one line.
        packages: distributions whose versions matter to the answer.
        results: what was measured.
    """
    module = ".".join(Path(sys.argv[0]).resolve().relative_to(ROOT).with_suffix("").parts)
    record = {
        "question": question,
        "command": shlex.join(["python", "-m", module, *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "machine": {
            "processor": processor_name(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "load_average": round(os.getloadavg()[0], 1),
            **gpu(),
        },
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        **results,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=2) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    print(text, end="")
