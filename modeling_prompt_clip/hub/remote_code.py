"""Put the model's code beside its weights, for `trust_remote_code=True`.

`register_for_auto_class` would write code into every saved folder, checkpoints included, and name one Auto class of a
model's two. Only what runs a published model travels, which needs torch, transformers and Pillow.
"""

import json
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

from dataset_scripts.common.text.documents import read_json_as
from modeling_prompt_clip.loading import STAND_IN, STAND_IN_FOLDER

__all__ = ["REMOTE_FILES", "add_remote_code", "complete_upload"]

logger = logging.getLogger(__name__)

MODEL = "prompt_clip"
REMOTE_FILES = (
    "configuration_prompt_clip.py",
    "folder_checks.py",
    "modeling_prompt_clip.py",
    "private_uploads.py",
    "processing_prompt_clip.py",
    "processor_files.py",
    "prompted_attention.py",
    "prompted_layers.py",
    "prompted_towers.py",
)
"""Code that travels: the model's file, the processor's, and the files that they import."""
# file of a saved model or processor -> what each Auto class shall load
AUTO_MAPS = {
    "config.json": {
        "AutoConfig": "configuration_prompt_clip.PromptCLIPConfig",
        "AutoModel": "modeling_prompt_clip.PromptCLIPModel",
        "AutoModelForZeroShotImageClassification": "modeling_prompt_clip.PromptCLIPModel",
    },
    "processor_config.json": {"AutoProcessor": "processing_prompt_clip.PromptCLIPProcessor"},
}


def add_remote_code(folder: str | Path) -> None:
    """Make a saved model and processor loadable without this package, in place.

    Raises OSError: the folder lacks one of the two, or cannot be written.
    """
    for name in AUTO_MAPS:
        if not Path(folder, name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}; save both the model and its processor there first")
    _add_code(Path(folder), AUTO_MAPS)


def complete_upload(folder: str | Path) -> None:
    """Add remote code to saved files and remove local paths, in place.

    A tower gets no code: no Auto class could load it.

    Raises OSError: the folder cannot be written.
    """
    folder = Path(folder)
    _add_code(folder, [name for name in AUTO_MAPS if _is_whole(folder / name)])
    for path in folder.rglob("adapter_config.json"):
        adapter = read_json_as(dict, path)
        if base := told_base(adapter.get("base_model_name_or_path")):
            adapter["base_model_name_or_path"] = base
        elif adapter.get("base_model_name_or_path"):
            logger.warning(
                "the base model of the adapter is a folder of this machine, which nobody else has: the adapter is "
                "published without its name; set peft_config['default'].base_model_name_or_path to that of a base "
                "model on the Hub"
            )
            adapter["base_model_name_or_path"] = None
        path.write_text(json.dumps(adapter, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def told_base(name: str | None) -> str | None:
    """A base model's public name; None for a local folder."""
    if not name or name == STAND_IN:
        return name or None
    if Path(name).expanduser().absolute() == STAND_IN_FOLDER:
        return STAND_IN
    return None if Path(name).is_absolute() or name.startswith((".", "~")) or Path(name).exists() else name


def _is_whole(path: Path) -> bool:
    """Whether a settings file exists and is not a tower's."""
    return path.is_file() and read_json_as(dict, path).get("model_type", MODEL) == MODEL


def _add_code(folder: Path, names: Iterable[str]) -> None:
    auto_maps = {name: AUTO_MAPS[name] for name in names}
    if not auto_maps:
        return
    for name in REMOTE_FILES:
        shutil.copy(Path(__file__).parents[1] / name, folder)
    for name, auto_map in auto_maps.items():
        settings = read_json_as(dict, folder / name)
        text = json.dumps(settings | {"auto_map": auto_map}, indent=2, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
