"""Reading tensors from a foreign checkpoint without running its code."""

import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from modeling_prompt_clip.folder_checks import check_archive, in_words, one_line

__all__ = ["CheckpointFile", "read_checkpoint", "read_tensors"]

MAGIC = (b"PK\x03\x04", b"\x80")  # a zip archive, as torch has written since 1.6, and a pickle
LFS_POINTER = b"version https://git-lfs"
WRAPPERS = ("module.", "_orig_mod.")  # DistributedDataParallel and torch.compile put these before all names
DEPTH = 6  # of mappings in mappings
# one of these names is in every state dict that holds a CLIP, or what is taken for one
_VISION_TOWER = re.compile(r"(^|\.)(visual|vision_model|visual_encoder|vision_encoder|image_encoder)\.")


@dataclass(frozen=True)
class CheckpointFile:
    """Content of a checkpoint file."""

    path: Path  # of the file
    # the model's tensors by name, on the CPU. Where the file holds several state dicts with a vision tower, such as a
    # model and its moving average, names begin with the keys that lead to each: `"ema.module."`
    tensors: dict[str, torch.Tensor]
    # text and numbers that lie beside the state dict, such as open_clip's `"name"` of the run
    beside: dict[str, Any] = field(default_factory=dict)


def read_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """The model's tensors by name; see [`read_checkpoint`]."""
    return read_checkpoint(path).tensors


def read_checkpoint(path: str | Path) -> CheckpointFile:
    """Read safetensors, or state dicts from `torch.save`, nested or not.

    A pickle can hold code, so it is only read by `torch.load(weights_only=True)`.

    Raises OSError: there is no such file, or it is damaged; ValueError: it holds more than tensors and plain
    containers, is a TorchScript archive, or holds no tensors.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(_folder_message(path))
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} is no file; give a .pth, .pt, .bin or .safetensors file")
    loaded = _load(path)
    found = {way: tensors for way, tensors in _state_dicts(loaded).items() if tensors}
    if not found:
        raise ValueError(f"checkpoint {path} holds no tensors by name; give the file that has the model's state dict")
    towers = {way: tensors for way, tensors in found.items() if any(map(_VISION_TOWER.search, tensors))}
    if len(towers) > 1:
        tensors = {f"{way}{name}": tensor for way, part in towers.items() for name, tensor in part.items()}
    else:
        (tensors,) = towers.values() or (max(found.values(), key=len),)
    plain = loaded.items() if isinstance(loaded, Mapping) else ()
    beside = {str(name): value for name, value in plain if isinstance(value, (str, int, float))}
    return CheckpointFile(path, tensors, beside)


def _folder_message(path: Path) -> str:
    if (path / "config.json").is_file():
        return (
            f"{path} is a model folder already: use it as it is, as MODEL of search and evaluate or as --base_model; "
            "convert takes single files"
        )
    return f"checkpoint {path} is a folder; give the .pth, .pt, .bin or .safetensors file in it"


def _state_dicts(loaded: Any, way: str = "", depth: int = DEPTH) -> dict[str, dict[str, torch.Tensor]]:
    """State dicts by the keys that lead to them, without wrappers' names."""
    if not isinstance(loaded, Mapping) or not depth:
        return {}
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
    found = {way: _unwrapped(tensors)}
    for name, value in loaded.items():
        found |= _state_dicts(value, f"{way}{name}.", depth - 1)
    return found


def _unwrapped(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for wrapper in WRAPPERS * 2:
        if tensors and all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
    return tensors


def _load(path: Path) -> Any:
    with open(path, "rb") as file:
        head = file.read(len(LFS_POINTER))
    if head == LFS_POINTER:
        raise OSError(f"checkpoint {path} is a git-LFS pointer and not the file itself; run git lfs pull")
    if not head:
        raise OSError(f"checkpoint {path} is cut off: it is empty; copy or download it again")
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        with in_words(f"checkpoint {path}"):
            return load_file(path)
    if not head.startswith(MAGIC):
        raise OSError(f"checkpoint {path} is not what torch.save writes, but maybe a web page; download it again")
    return _load_pickle(path)


def _load_pickle(path: Path) -> Any:
    check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=".*looks like a TorchScript archive"
            )  # it is refused in our words
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f" (it names {named[1]})" if named else ""
        raise ValueError(
            f"checkpoint {path} holds more than tensors, and loading that could run code that came with it: "
            f"refused{reason}. Where you trust its author, load it there and save only the state dict: "
            "torch.save(checkpoint['model'], 'weights.pth')"
        ) from error
    except RuntimeError as error:
        if "TorchScript" in str(error):
            raise ValueError(
                f"checkpoint {path} is a TorchScript archive, which is a program: refused. Where you trust its "
                "author, save only its weights: torch.save(torch.jit.load(path, map_location='cpu').state_dict(), "
                "'weights.pth'); the same CLIP models are on the Hub as openai/clip-vit-base-patch16 and so on"
            ) from error
        raise OSError(f"checkpoint {path} is damaged ({one_line(error)}); copy or download it again") from error
    except EOFError as error:
        raise OSError(f"checkpoint {path} is cut off; copy or download it again") from error
    except (  # what the unpickler makes of bytes that mean nothing
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        MemoryError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:
        raise OSError(f"checkpoint {path} is damaged; copy or download it again") from error
