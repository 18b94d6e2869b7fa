"""How the package is installed here: missing extras, and how its command is typed."""

import os
import shutil
import sys
from pathlib import Path

__all__ = ["command_name", "install_hint"]


def install_hint(extra: str) -> str:
    """Return the command that installs an extra, and where to run it.

    The package is not registered on PyPI: its name there could be anybody's, so no message may send people to it.

    Args:
        extra: `"train"`, `"export"`, ...
    """
    return f'pip install -e ".[{extra}]" in a checkout of PromptCLIP'


def command_name() -> str:
    """Return what to type for `prompt-clip`: it may not be on the PATH."""
    if shutil.which("prompt-clip"):
        return "prompt-clip"
    script = Path(sys.executable).parent / "prompt-clip"
    if not script.exists():
        return f"{sys.executable} -m modeling_prompt_clip.cli"
    near = os.path.relpath(script)
    return str(script) if near.startswith("..") else near
