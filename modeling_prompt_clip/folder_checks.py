"""Checks of files from elsewhere, before anything of the size they claim is allocated."""

import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open

MOST_JSON_BYTES = 64 << 20  # the largest tokenizers have 20 MB
INDEX_FILES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SLACK = 1 << 26  # bytes: a TorchScript archive compresses its code
AGAIN = "copy or download it again"
# raised by transformers, PEFT, torch and tokenizers for files that they do not expect
OTHERS_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    SafetensorError,
    StrictDataclassError,
    json.JSONDecodeError,
    UnicodeDecodeError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
)


def one_line(text: object) -> str:
    """Shorten an error, or a name of others, to a line of printable characters."""
    text = " ".join(str(text).split()) or type(text).__name__
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)[:300]


@contextmanager
def in_words(what: str, remedy: str = AGAIN) -> Iterator[None]:
    """Raise OSError that names `what` in place of a library's own errors.

    ValueErrors, OSErrors that name their file and a full GPU pass.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(f"{what} cannot be read ({one_line(error)}); {remedy}") from error  # of safetensors' mmap
    except OTHERS_ERRORS as error:
        raise OSError(f"{what} is damaged ({type(error).__name__}: {one_line(error)}); {remedy}") from error


def read_json(path: Path) -> Any:
    """Read JSON in bounded memory.

    Raises ValueError: too large, nested too deeply, or no JSON; OSError: unreadable.
    """
    with open(path, "rb") as file:
        content = file.read(MOST_JSON_BYTES + 1)
    if len(content) > MOST_JSON_BYTES:
        raise ValueError(f"it is larger than {MOST_JSON_BYTES >> 20} MB")
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def check_archive(path: Path) -> None:
    """Refuse a zip archive that grows when read: torch.save compresses nothing.

    Raises OSError.
    """
    if not zipfile.is_zipfile(path):
        return
    with in_words(f"{path.name} of {str(path.parent)!r}"), zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > 2 * path.stat().st_size + SLACK:
            raise OSError(
                f"{path} is a compressed archive of {unpacked:,} bytes, which torch.save does not write; "
                "download it again, or unpack it and give the file inside"
            )


def tensor_fault(tensor: torch.Tensor) -> str | None:
    """Say why a tensor is no plain memory; None if it is."""
    if tensor.is_quantized:
        return f"is {tensor.dtype}; save it by tensor.dequantize()"
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"is {tensor.layout}: weights must be dense; save it by tensor.to_dense()"
    if tensor.is_meta:
        return "is on the meta device: it has a shape and no content; save the loaded model"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"repeats its values in memory to a shape of {tuple(tensor.shape)}; save it by tensor.clone()"
    return None


def check_weights(folder: Path, build: Callable[[], torch.nn.Module]) -> None:
    """Compare the weights of a folder with the model that its configuration asks for.

    `build` makes the model, on the meta device. Reads only headers.

    Raises OSError: an index or weight file is damaged, missing or outside the folder; ValueError: shapes differ.
    """
    whole, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    if whole.is_file():
        files = [whole]
    elif (folder / INDEX_FILES[0]).is_file():
        files = _shards(folder / INDEX_FILES[0], ".safetensors")
    elif pickled.is_file():
        return check_archive(pickled)
    else:
        for path in _shards(folder / INDEX_FILES[1], ".bin") if (folder / INDEX_FILES[1]).is_file() else []:
            check_archive(path)
        return None
    found: dict[str, Any] = {}
    for path in files:
        try:
            with safe_open(path, "pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118
                    found[name] = tensors.get_slice(name)
        except OTHERS_ERRORS as error:
            raise OSError(
                f"the weights of {str(folder)!r} are damaged ({path.name}: {one_line(error)}); save or download them "
                "again"
            ) from error
    with torch.device("meta"):
        wanted = build().state_dict()
    for name in sorted(wanted.keys() & found.keys()):
        shape, dtype = tuple(found[name].get_shape()), found[name].get_dtype()
        if tuple(wanted[name].shape) != shape:
            raise ValueError(
                f"checkpoint {str(folder)!r} has {name} of shape {shape}, its config.json asks for "
                f"{tuple(wanted[name].shape)}; give the config.json and the weights of one model"
            )
        if wanted[name].is_floating_point() and not dtype.startswith(("F", "BF")):
            raise ValueError(
                f"checkpoint {str(folder)!r} has {name} of type {dtype}; weights must be floating-point numbers: "
                "save them before quantisation"
            )
    missing = sorted(wanted.keys() - found.keys())
    if 2 * len(missing) > len(wanted):
        raise ValueError(
            f"checkpoint {str(folder)!r} lacks {len(missing)} tensors, such as {missing[0]!r}, for which its "
            "config.json asks; give a complete one, for a base model the weights of a CLIP with both towers"
        )
    return None


def _shards(index: Path, suffix: str) -> list[Path]:
    """Return the files that an index names, all of them in its folder."""
    what = f"{index.name}, the index of the weights of {str(index.parent)!r},"
    try:
        content = read_json(index)
    except ValueError as error:
        raise OSError(
            f"the weights of {str(index.parent)!r} are damaged: {what} cannot be read ({one_line(error)}); {AGAIN}"
        ) from error
    names = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise OSError(
            f"the weights of {str(index.parent)!r} are damaged: {what} has no weight_map of tensor names to "
            f"files; {AGAIN}"
        )
    for name in sorted(set(names.values())):
        if Path(name).name != name or not name.endswith(suffix):
            raise OSError(f"{what} names {one_line(name)!r}; files must lie beside it and end in {suffix}; {AGAIN}")
        if not (index.parent / name).is_file():
            raise FileNotFoundError(f"{what} names {one_line(name)!r}, which is missing; {AGAIN}")
    return [index.parent / name for name in sorted(set(names.values()))]


__all__ = ["check_archive", "check_weights", "in_words", "one_line", "read_json", "tensor_fault"]
