"""Load a model and its processor from a folder, run or Hub id."""

import logging
import os
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from peft.utils.save_and_load import get_peft_model_state_dict, load_peft_weights, set_peft_model_state_dict
from transformers.utils import find_adapter_config_file

from dataset_scripts.common.model_names import STAND_IN, check_local_name
from modeling_prompt_clip.folder_checks import check_archive, in_words, one_line, read_json, tensor_fault
from modeling_prompt_clip.modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.processing_prompt_clip import PromptCLIPProcessor
from modeling_prompt_clip.prompt_tuning import DeepPromptConfig

logger = logging.getLogger(__name__)

STAND_IN_FOLDER = Path(__file__).parent / "assets" / "stand_in_clip"
HubOptions = dict[str, Any]
"""`revision` and `token`, where they are given."""

ADAPTER_FILE = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def resolve_model_path(name_or_path: str | os.PathLike) -> str:
    """Return the folder or Hub id that a model's name stands for.

    Args:
        name_or_path: `"stand-in"`; a model or adapter folder; a run folder, which means its merged `model/` or, before
            stage two, its `adapter/`. Anything that is neither a folder nor looks like a path is a Hub id.

    Raises OSError: the package lacks the stand-in, a folder holds no model, or a path leads to no folder.
    """
    name = os.path.expanduser(os.fspath(name_or_path))
    if name == STAND_IN:
        if not (STAND_IN_FOLDER / "config.json").is_file():
            raise FileNotFoundError(
                f"model {STAND_IN!r} is not in this installation: {STAND_IN_FOLDER} has no config.json; install the "
                "whole package again, or name another CLIP folder or Hub id"
            )
        return str(STAND_IN_FOLDER)
    if not Path(name).is_dir():
        check_local_name(name, "model")
        return name
    for folder in (Path(name), Path(name, "model"), Path(name, "adapter")):
        if (folder / "config.json").is_file() or (folder / ADAPTER_FILE).is_file():
            if folder == Path(name, "adapter"):
                logger.info("%s has no model of stage two: the adapter of stage one is used", name)
            return str(folder)
    raise FileNotFoundError(
        f"folder {name!r} holds no model: looked for config.json and {ADAPTER_FILE} in it, in model/ and in adapter/; "
        "give a model folder, an adapter folder or a run folder"
    )


def processor_path(name_or_path: str | os.PathLike) -> str:
    """Return the folder or Hub id with the processor of a model or adapter.

    Raises OSError, ValueError: see [`resolve_model_path`]; an adapter that names no base model.
    """
    return _processor_source(resolve_model_path(name_or_path), {})[0]


def _processor_source(path: str, hub: HubOptions) -> tuple[str, HubOptions]:
    adapters = []
    while is_adapter(path, **hub):
        if path in adapters:
            raise ValueError(
                f"base_model_name_or_path in {ADAPTER_FILE} of {path!r} leads back to that adapter; write a CLIP "
                "folder or Hub id there"
            )
        adapters.append(path)
        path, hub = _base_of(path, hub)
    return path, hub


def load_model(
    name_or_path: str | os.PathLike,
    *,
    image_size: tuple[int, int] | None = None,
    revision: str | None = None,
    dtype: torch.dtype | str | None = None,
    token: str | bool | None = None,
    device: torch.device | str | None = None,
) -> tuple[PromptCLIPModel, PromptCLIPProcessor]:
    """Load a model in eval mode, and its processor.

    Args:
        name_or_path: as for [`resolve_model_path`]. An adapter is merged into the base model that it names, at the
            revision that it records.
        image_size: `(height, width)` in pixels; the position grid is resized. None keeps the model's size.
        revision: branch, tag or commit of a Hub repository; None is its main branch.
        dtype: such as `torch.bfloat16` or `"bfloat16"`; None keeps the checkpoint's.
        token: for private repositories on the Hub; by default that of `hf auth login` or `HF_TOKEN`.
        device: where the model goes; None leaves it on the CPU.

    Raises OSError: the model cannot be read; ValueError: no complete CLIP with both towers, no CLIP_PROMPT adapter, a
    `revision` of a folder, a `dtype` that is not floating point, or a `device` that torch does not reach here.
    """
    path, dtype = resolve_model_path(name_or_path), _checked_dtype(dtype)
    _check_device(device)
    if revision is not None and Path(path).is_dir():
        raise ValueError(f"revision is {revision!r}, but model {os.fspath(name_or_path)!r} is a folder; leave it out")
    model, source, hub = load_at_own_size(path, _hub_options(revision, token))
    if image_size is not None:
        model = model.resized(image_size)
    model.name_or_path = os.fspath(name_or_path)
    size = model.config.vision_config.image_height_width
    processor = PromptCLIPProcessor.from_clip(source, image_size=size, **hub)
    return model.to(device=device, dtype=dtype).eval(), processor


def _hub_options(revision: str | None, token: str | bool | None) -> HubOptions:
    return {name: value for name, value in (("revision", revision), ("token", token)) if value is not None}


def _checked_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    found = getattr(torch, dtype, dtype) if isinstance(dtype, str) else dtype
    if found is not None and not (isinstance(found, torch.dtype) and found.is_floating_point):
        raise ValueError(f"dtype is {dtype!r}; give a floating point type of torch, such as 'bfloat16'")
    return found


def _check_device(device: torch.device | str | None) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise ValueError(
            f"device is {device!r}, which cannot be used here ({str(error).splitlines()[0]}); give one that torch "
            "reaches, such as 'cpu' or 'cuda:0'"
        ) from error


def is_adapter(path: str, **hub: Any) -> bool:
    """Whether a folder or Hub id holds an adapter; False if unknown."""
    if Path(path).is_dir():
        return Path(path, ADAPTER_FILE).is_file()
    try:
        return find_adapter_config_file(path, **hub) is not None
    except OSError:
        return False


def load_at_own_size(path: str, hub: HubOptions) -> tuple[PromptCLIPModel, str, HubOptions]:
    """Load a model, merging an adapter, with its processor's source.

    Returns: the model, the processor's folder or Hub id, and its Hub options.

    Raises OSError: the model, or the adapter's base, cannot be read; ValueError: not a CLIP_PROMPT adapter, no base
    model named, or tensors missing.
    """
    if not is_adapter(path, **hub):
        return PromptCLIPModel.from_clip(path, image_size=None, **hub), path, hub
    config = _adapter_config(path, hub)
    if not isinstance(config, DeepPromptConfig):
        raise ValueError(f"{ADAPTER_FILE} of {path!r} has peft_type {config.peft_type}; it must be CLIP_PROMPT")
    base = _base_of(path, hub)
    _processor_source(path, hub)  # refuses adapters that name each other
    try:
        model, *source = load_at_own_size(*base)
    except OSError as error:
        raise OSError(
            f"base_model_name_or_path in {ADAPTER_FILE} of {path!r} cannot be loaded; correct it there: {error}"
        ) from error
    adapted = with_adapter(model.resized(config.image_size) if config.image_size else model, path, **hub)
    return adapted.merge_and_unload(safe_merge=True), *source


def with_adapter(model: PromptCLIPModel, path: str, **hub: Any) -> PeftModel:
    """Wrap a model, in place, with a saved adapter.

    Raises OSError: the adapter has no weights, or its files are damaged; ValueError: its tensors do not fit its
    configuration, or it names a library to import.
    """
    config = _adapter_config(path, hub)
    if getattr(config, "megatron_config", None):
        raise ValueError(f"{ADAPTER_FILE} of {path!r} has megatron_config, by which PEFT imports a library; remove it")
    tensors = read_adapter(path, **hub)
    with in_words(f"{ADAPTER_FILE} of {path!r}"):
        try:
            adapted = PeftModel(model, config)
        except ValueError as error:
            raise ValueError(f"{ADAPTER_FILE} of {path!r} does not fit the model: {one_line(error)}") from error
    put_adapter(adapted, tensors, path)
    return adapted


def read_adapter(path: str | os.PathLike, **hub: Any) -> dict[str, torch.Tensor]:
    """Read the tensors of a saved adapter, on the CPU.

    Raises OSError: there are none, or their file is damaged.
    """
    path, names = os.fspath(path), (ADAPTER_WEIGHTS, "adapter_model.bin")
    if Path(path).is_dir() and not any(Path(path, name).is_file() for name in names):
        raise FileNotFoundError(f"adapter {path!r} has no {ADAPTER_WEIGHTS}; copy or download it again")
    check_archive(Path(path, names[1]))
    try:
        with in_words(f"{ADAPTER_WEIGHTS} of {path!r}"):
            return load_peft_weights(path, device="cpu", **hub)
    except ValueError as error:
        raise FileNotFoundError(f"adapter {path!r} has no {ADAPTER_WEIGHTS} ({error})") from error


def put_adapter(model: PeftModel, tensors: dict[str, torch.Tensor], path: str | os.PathLike) -> None:
    """Copy an adapter's tensors into a PEFT model that has it.

    Raises ValueError: a tensor is missing, unknown, of another shape or not finite; names file and tensor.
    """
    file = f"{ADAPTER_WEIGHTS} of {os.fspath(path)!r}"
    for name, tensor in tensors.items():
        if fault := tensor_fault(tensor):
            raise ValueError(f"{file} holds {one_line(name)}, which {fault}")
        if not tensor.isfinite().all():
            raise ValueError(f"{file} holds NaN or infinity in {name}; take weights of an earlier step")
    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    for problem, names in (
        ("lacks", wanted.keys() - tensors.keys()),
        ("holds, beyond the adapter's own,", tensors.keys() - wanted.keys()),
    ):
        if names:
            raise ValueError(
                f"{file} {problem} {len(names)} tensors, such as {min(names)!r}; copy or download the adapter again, "
                f"and give the base model that it was trained on"
            )
    for name, tensor in wanted.items():
        if tensor.shape != tensors[name].shape:
            raise ValueError(
                f"{file} has {name} of shape {tuple(tensors[name].shape)}, {ADAPTER_FILE} asks for "
                f"{tuple(tensor.shape)}; copy or download the adapter again"
            )
    set_peft_model_state_dict(model, tensors)


def _adapter_config(path: str, hub: HubOptions) -> PeftConfig:
    file = f"{ADAPTER_FILE} of {path!r}"
    with in_words(file):
        try:
            if Path(path).is_dir():
                read_json(Path(path, ADAPTER_FILE))
            return PeftConfig.from_pretrained(path, **hub)
        except ValueError as error:
            if type(error) is ValueError:
                raise ValueError(f"{file} is not valid: {one_line(error)}") from error
            raise


def _base_of(path: str, hub: HubOptions) -> tuple[str, HubOptions]:
    config = _adapter_config(path, hub)
    if not config.base_model_name_or_path:
        raise ValueError(
            f"{ADAPTER_FILE} of {path!r} names no base model; write a CLIP folder or Hub id into it as "
            "base_model_name_or_path"
        )
    try:
        base = resolve_model_path(config.base_model_name_or_path)
    except OSError as error:
        raise OSError(
            f"base_model_name_or_path in {ADAPTER_FILE} of {path!r} cannot be loaded; correct it there: {error}"
        ) from error
    return base, _hub_options(config.revision, hub.get("token"))


__all__ = [
    "ADAPTER_FILE",
    "STAND_IN",
    "is_adapter",
    "load_model",
    "processor_path",
    "put_adapter",
    "read_adapter",
    "resolve_model_path",
    "with_adapter",
]
