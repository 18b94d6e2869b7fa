"""Tensors out of a checkpoint that somebody else wrote, without running anything that is in it."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

__all__ = ["read_tensors"]

# where training code keeps the model beside optimizer and counters
CONTAINERS = ("model", "state_dict", "model_state_dict")
MAGIC = (b"PK\x03\x04", b"\x80")  # a zip archive, as torch has written since 1.6, and a pickle
LFS_POINTER = b"version https://git-lfs"


def read_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """The model's tensors by name, on the CPU.

    A pickle can hold code, so a `.pth` is read by `torch.load(weights_only=True)` and by nothing else.

    Args:
        path: `.safetensors`, or what `torch.save` wrote: a state dict, or a dictionary with one under "model",
            "state_dict" or "model_state_dict".

    Raises:
        OSError: there is no such file, or it is damaged.
        ValueError: it holds more than tensors and plain containers, is a TorchScript archive, or holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} is no file; give a .pth, .pt or .safetensors file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise OSError(f"checkpoint {path} is damaged ({error}); copy or download it again") from error
    loaded = _load_pickle(path)
    for name in CONTAINERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
    tensors = {name: value for name, value in _items(loaded) if isinstance(value, torch.Tensor)}
    if not tensors:
        raise ValueError(f"checkpoint {path} holds no tensors by name; give the file that has the model's state dict")
    return tensors


def _items(loaded: Any) -> list[tuple[str, Any]]:
    return [(str(name), value) for name, value in loaded.items()] if isinstance(loaded, Mapping) else []


def _load_pickle(path: Path) -> Any:
    """What `torch.save` wrote; raises as `read_tensors`."""
    with open(path, "rb") as file:
        head = file.read(len(LFS_POINTER))
    if head == LFS_POINTER:
        raise OSError(f"checkpoint {path} is a git-LFS pointer and not the file itself; run git lfs pull")
    if head and not head.startswith(MAGIC):
        raise OSError(f"checkpoint {path} is not what torch.save writes, but maybe a web page; download it again")
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
            f"refused{reason}. Where you trust its author, load it there and save the state dict alone: "
            "torch.save(checkpoint['model'], 'weights.pth')"
        ) from error
    except RuntimeError as error:
        if "TorchScript" in str(error):
            raise ValueError(
                f"checkpoint {path} is a TorchScript archive, which is a program: refused. Where you trust its "
                "author, save its weights alone: torch.save(torch.jit.load(path, map_location='cpu').state_dict(), "
                "'weights.pth'); the same CLIP models are on the Hub as openai/clip-vit-base-patch16 and so on"
            ) from error
        raise OSError(f"checkpoint {path} is damaged ({error}); copy or download it again") from error
    except EOFError as error:
        raise OSError(f"checkpoint {path} is cut off; copy or download it again") from error
    except (LookupError, TypeError, ValueError) as error:  # what the unpickler makes of bytes that mean nothing
        raise OSError(f"checkpoint {path} is damaged; copy or download it again") from error
