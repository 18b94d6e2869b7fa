"""Names of models and tokenizers: folders here, ids on the Hub, or the stand-in."""

import importlib.util
import os
import re
from pathlib import Path

from dataset_scripts.common.text.suggest import did_you_mean

__all__ = ["STAND_IN", "check_local_name", "tokenizer_source"]

STAND_IN = "stand-in"
"""The name of the small CLIP that ships with this package, for machines that reach no pretrained weights."""

_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?", re.ASCII)


def tokenizer_source(name: str) -> str:
    """Return the folder or Hub id that `--tokenizer` names; see `check_local_name`."""
    if name == STAND_IN:
        package = importlib.util.find_spec("modeling_prompt_clip")  # found, not imported: that takes seconds
        return str(Path(str(package and package.origin)).parent / "assets" / "stand_in_clip")
    name = os.path.expanduser(name)
    if not os.path.isdir(name):
        check_local_name(name, "tokenizer")
    return name


def check_local_name(name: str, what: str) -> None:
    """Refuse a name that is meant as a path here, but is no folder: the Hub would be asked for a minute.

    A name is meant as a path if it has no form of a Hub id, or its parent is a folder here.

    Args:
        name: as a user gave it; it is no folder.
        what: the option or argument, for the message.

    Raises OSError.
    """
    path = Path(name)
    if path.is_file():
        raise NotADirectoryError(
            f"{what} {name!r} is a file; give the folder of a model. prompt-clip convert makes one from a checkpoint"
        )
    inside = "/" in name and path.parent.is_dir()
    if _HUB_ID.fullmatch(name) and not name.startswith(".") and not inside:
        return
    names = [str(path.parent / entry.name) for entry in _folders(path.parent)]
    near = did_you_mean(name, names)
    raise FileNotFoundError(
        f"{what} {name!r} is no folder here.{near} Give a run, model or adapter folder, a Hub id such as "
        "openai/clip-vit-base-patch16, or stand-in"
    )


def _folders(parent: Path) -> list[os.DirEntry]:
    try:
        return sorted((entry for entry in os.scandir(parent) if entry.is_dir()), key=lambda entry: entry.name)
    except OSError:
        return []
