"""Programs run in a process that cannot import this package."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["OURS", "run_elsewhere"]

OURS = ("modeling_prompt_clip", "trainers", "dataset_scripts")
_PRELUDE = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
"""


def run_elsewhere(
    program: str,
    *arguments: object,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    missing: Iterable[str] = OURS,
) -> str:
    """Run a program, which must succeed; return what it printed.

    Args:
        program: Python text.
        *arguments: `sys.argv[1:]` of the program.
        folder: in which it runs, and keeps code from the Hub.
        environment: variables beside those of this process.
        missing: packages that cannot be imported.
    """
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= {"OMP_NUM_THREADS": "1", "HF_MODULES_CACHE": str(folder / "modules"), **(environment or {})}
    text = _PRELUDE.format(names=set(missing)) + program
    done = subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
