"""`open_clip_config.json` beside open_clip's weights: what tensors do not tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_scripts.common.text.documents import read_json

__all__ = ["CONFIG_FILE", "OpenClipConfig", "read_open_clip_config"]

CONFIG_FILE = "open_clip_config.json"

# of the towers: read here, told by the tensors as well, or without effect on embeddings at inference
_VISION = {"width", "layers", "patch_size", "image_size", "head_width", "mlp_ratio", "patch_dropout", "output_tokens"}
_TEXT = {"width", "layers", "heads", "context_length", "vocab_size", "mlp_ratio", "output_tokens", "pad_id"}
_TEXT |= {"hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode"}
_AS_IN_CLIP = {"pool_type": ("tok", "argmax"), "proj_type": ("linear",)}


@dataclass(frozen=True)
class OpenClipConfig:
    """Content of `open_clip_config.json`."""

    path: Path  # of the file
    model: dict[str, Any]  # its `model_cfg`
    preprocess: dict[str, Any]  # its `preprocess_cfg`, empty where there is none

    @property
    def activation(self) -> str:
        """`"quick_gelu"` or `"gelu"`."""
        return "quick_gelu" if self.model.get("quick_gelu") else "gelu"

    @property
    def image_size(self) -> tuple[int, int] | None:
        """`(height, width)` in pixels."""
        size = self.model["vision_cfg"].get("image_size")
        size = [size, size] if isinstance(size, int) else size
        is_pair = isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size)
        return tuple(size) if is_pair else None

    def head_width(self, tower: str) -> int | None:
        """Of the `"vision"` or `"text"` tower."""
        config = self.model[f"{tower}_cfg"]
        if tower == "vision":
            return config.get("head_width", 64)
        return config["width"] // config["heads"] if config.get("heads") and config.get("width") else None

    def check(self, widths: Mapping[str, int]) -> None:
        """Check that the file fits towers of these widths.

        Raises ValueError: it is of another model, or the model has what CLIP lacks.
        """
        for tower, width in widths.items():
            said = self.model[f"{tower}_cfg"].get("width")
            if said not in (None, width):
                raise ValueError(
                    f"{self.path} is of another model: {tower}_cfg.width is {said}, in the checkpoint it is {width}; "
                    "move the checkpoint to a folder of its own"
                )
        for tower, known in (("vision", _VISION), ("text", _TEXT)):
            for name, value in self.model[f"{tower}_cfg"].items():
                if name not in known and value and value not in _AS_IN_CLIP.get(name, ()):
                    raise ValueError(
                        f"{self.path} has {tower}_cfg.{name} {value!r}: refused, as CLIP has no such thing and its "
                        "embeddings would be others"
                    )


def read_open_clip_config(checkpoint: Path) -> OpenClipConfig | None:
    """Read the file beside a checkpoint; None if missing.

    Raises OSError: it cannot be read; ValueError: open_clip does not write such a file.
    """
    path = checkpoint.parent / CONFIG_FILE
    if not path.exists():
        return None
    try:
        content = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read ({error}); copy or download it again") from error
    content = content if isinstance(content, dict) else {}
    model = content.get("model_cfg", content)
    model = model if isinstance(model, dict) else {}
    towers = [model[name] for name in ("vision_cfg", "text_cfg") if isinstance(model.get(name), dict)]
    if len(towers) != 2:
        raise ValueError(f"{path} has no vision_cfg and text_cfg, as open_clip writes them; copy or download it again")
    numbers = [tower.get(name) for tower in towers for name in ("width", "heads", "head_width")]
    if not all(number is None or (type(number) is int and number > 0) for number in numbers):
        raise ValueError(f"{path} has a width that is not a positive integer; copy or download it again")
    preprocess = content.get("preprocess_cfg")
    return OpenClipConfig(path, model, preprocess if isinstance(preprocess, dict) else {})
