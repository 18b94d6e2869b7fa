"""The model's code beside its weights, for `AutoModel.from_pretrained(..., trust_remote_code=True)`.

Only what runs a published model travels: it needs torch, transformers and Pillow. Prompts are merged there, so that
PEFT and our adapter method stay at home.
"""

import json
import shutil
from pathlib import Path

__all__ = ["REMOTE_FILES", "add_remote_code"]

REMOTE_FILES = tuple(
    f"{name}.py"
    for name in (
        "configuration_prompt_clip",
        "activations",
        "prompted_attention",
        "prompted_layers",
        "prompted_towers",
        "modeling_prompt_clip",
        "processing_prompt_clip",
    )
)
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
    """Make a saved model and processor loadable without this package, in place; their weights stay as they are.

    Args:
        folder: from `PromptCLIPModel.save_pretrained` and `PromptCLIPProcessor.save_pretrained`.

    Raises:
        OSError: the folder lacks one of the two, or cannot be written.
    """
    folder = Path(folder)
    for name in AUTO_MAPS:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}; save both the model and its processor there first")
    package = Path(__file__).parents[1]
    for name in REMOTE_FILES:
        shutil.copyfile(package / name, folder / name)
    for name, auto_map in AUTO_MAPS.items():
        settings = json.loads((folder / name).read_text(encoding="utf-8"))
        text = json.dumps(settings | {"auto_map": auto_map}, indent=2, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
