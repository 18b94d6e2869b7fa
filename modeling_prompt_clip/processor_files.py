"""Read tokenizer and image processor files, never running code."""

import json
import logging
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
from transformers import AutoTokenizer, CLIPImageProcessorPil

from .configuration_prompt_clip import PromptCLIPConfig
from .folder_checks import in_words, one_line, read_json

logger = logging.getLogger(__name__)

IMAGE_FILE = "preprocessor_config.json"
PROCESSOR_FILE = "processor_config.json"
TOKENIZER_FILES = (
    "tokenizer_config.json",
    "tokenizer.json",
    "vocab.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
MOST_PIXELS = 8192  # of a side
HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
PLACEHOLDER = re.compile(r"[<\[]|.*(unused|reserved)")  # tokens that no merge makes, and no sentence holds
SENTENCES = ("a man", "the woman walks in a red coat")


def read_json_file(name: str | os.PathLike, file: str, **kwargs: Any) -> dict[str, Any] | None:
    """Read a JSON object from a model folder or Hub repository.

    Returns: None if the file is missing.

    Raises OSError: the file is damaged, or the Hub does not say whether it exists.
    """
    path = _local_path(str(name), file, {key: kwargs[key] for key in HUB_OPTIONS if kwargs.get(key) is not None})
    if path is None:
        return None
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise _damaged(name, file, f"it cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise _damaged(name, file, f"it holds a {type(content).__name__}, not a JSON object")
    return content


def _local_path(name: str, file: str, options: dict[str, Any]) -> Path | None:
    """Path after any download; None if the repository lacks the file."""
    if Path(name).is_dir():
        path = Path(name, options.get("subfolder", ""), file)
        return path if os.path.lexists(path) else None  # a link to nothing is damage
    try:
        return Path(hf_hub_download(name, file, **options))
    except LocalEntryNotFoundError as error:  # of a Hub that was not asked, or did not answer
        where = {key: options[key] for key in ("cache_dir", "revision") if key in options}
        known = try_to_load_from_cache(name, str(Path(options.get("subfolder", ""), file)), **where)
        if known is not None or constants.HF_HUB_OFFLINE or options.get("local_files_only"):
            return None
        raise OSError(f"{file} of {name!r} could not be fetched from the Hub; try again ({error})") from error
    except EntryNotFoundError:
        return None
    except (HfHubHTTPError, ValueError) as error:
        raise OSError(f"{file} of {name!r} could not be fetched from the Hub; try again ({error})") from error


def _damaged(name: str | os.PathLike, file: str, what: str) -> OSError:
    return OSError(f"{file} of {str(name)!r} is damaged: {what}; copy or download it again")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _are_three(value: Any, least: float) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 3 and all(_is_number(x) and x > least for x in value)


def _is_size(value: Any) -> bool:
    sides = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
    return bool(sides) and all(type(side) is int and 0 < side <= MOST_PIXELS for side in sides)


SIZE_RULE = f"one or two positive integers, at most {MOST_PIXELS}"
IMAGE_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "image_mean": (lambda value: _are_three(value, -math.inf), "three numbers"),
    "image_std": (lambda value: _are_three(value, 0), "three numbers above 0"),
    "rescale_factor": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "resample": (lambda value: type(value) is int and 0 <= value <= 5, "an integer from 0 to 5"),
    "size": (_is_size, SIZE_RULE),
    "crop_size": (_is_size, SIZE_RULE),
    "pad_size": (_is_size, SIZE_RULE),
    **dict.fromkeys(
        ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb", "do_pad"),
        (lambda value: isinstance(value, bool), "true or false"),
    ),
}
NEEDED_BY = {"image_mean": "do_normalize", "image_std": "do_normalize", "rescale_factor": "do_rescale"}


def read_image_settings(name: str | os.PathLike, **kwargs: Any) -> dict[str, Any] | None:
    """Read an image processor's settings; None without a file.

    Raises OSError: a damaged file or a wrong setting.
    """
    file = PROCESSOR_FILE
    settings = (read_json_file(name, PROCESSOR_FILE, **kwargs) or {}).get("image_processor")
    if settings is None:
        file = IMAGE_FILE
        settings = read_json_file(name, IMAGE_FILE, **kwargs)
    if settings is None:
        return None
    if not isinstance(settings, dict) or not settings:
        raise _damaged(name, file, f"its settings of images are {settings!r}")
    for key, (holds, rule) in IMAGE_RULES.items():
        value = settings.get(key)
        if key not in settings or value is None and not settings.get(NEEDED_BY.get(key, ""), key in NEEDED_BY):
            continue
        if not holds(value):
            raise _damaged(name, file, f"{key} is {value!r} and must be {rule}")
    return {key: value for key, value in settings.items() if key != "auto_map"}


def load_image_processor(
    name: str | os.PathLike, fit: dict[str, Any] | None = None, **kwargs: Any
) -> CLIPImageProcessorPil:
    """Load a checkpoint's settings into Pillow's image processor.

    `fit` replaces settings of the checkpoint; with it, missing settings are CLIP's.

    Raises OSError: a damaged file, or a missing one without `fit`.
    """
    settings = read_image_settings(name, **kwargs)
    if settings is None:
        if fit is None:
            raise FileNotFoundError(
                f"{str(name)!r} has neither {PROCESSOR_FILE} nor {IMAGE_FILE}; save a processor there"
            )
        return CLIPImageProcessorPil(**fit)
    with in_words(f"{IMAGE_FILE} or {PROCESSOR_FILE} of {str(name)!r}"):
        return CLIPImageProcessorPil.from_dict({**settings, **(fit or {})})


def load_tokenizer(name_or_path: str | os.PathLike, config: PromptCLIPConfig | None, **kwargs: Any) -> Any:
    """Load a transformers tokenizer, fitted to its model, never running code.

    Without a `config` there is no model to check against.

    Raises OSError: no readable tokenizer; ValueError: another model's tokenizer, or another end token than the
    model's.
    """
    name = str(name_or_path)
    for file in TOKENIZER_FILES:
        read_json_file(name, file, **kwargs)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, **{**kwargs, "trust_remote_code": False})
    except Exception as error:  # the tokenizers library raises Exception itself
        raise OSError(
            f"model {name!r} has no readable tokenizer; put CLIP's tokenizer.json, or vocab.json and merges.txt, "
            f"beside its config.json, or mend tokenizer_config.json; code of its own is not run ({one_line(error)})"
        ) from error
    tokenizer.init_kwargs.pop("auto_map", None)  # or it would be saved, and run wherever that is loaded
    tokenizer.padding_side = "right"  # the end token must see no padding
    if config is not None:
        with in_words(
            f"the tokenizer of model {name!r} (tokenizer_config.json, tokenizer.json, or vocab.json and merges.txt)"
        ):
            _fit_to_model(tokenizer, name, config)
    return tokenizer


def _fit_to_model(tokenizer: Any, name: str, config: PromptCLIPConfig) -> None:
    """Check vocabulary and end token; cut captions at the model's context."""
    vocabulary = config.text_config.vocab_size
    if not vocabulary <= 2 * len(tokenizer) <= 2 * vocabulary:  # transformers makes an empty one of missing files
        raise ValueError(
            f"the tokenizer of model {name!r} has {len(tokenizer)} tokens, its text tower takes {vocabulary} "
            "(text_config.vocab_size); put the tokenizer files that belong to it beside config.json"
        )
    token, largest = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if largest >= vocabulary:
        raise ValueError(
            f"the tokenizer of model {name!r} gives {token!r} the id {largest}, beyond the {vocabulary} of its text "
            "tower (text_config.vocab_size); put the tokenizer files that belong to it beside config.json"
        )
    _check_merges(tokenizer, name)
    context, own = config.text_config.max_position_embeddings, tokenizer.model_max_length
    if own != context and own < 10**6:  # transformers' own for none is 10**30
        logger.warning(
            "the tokenizer of %s cuts captions at %d tokens; the model takes %d, used here", name, own, context
        )
    tokenizer.model_max_length = context
    ends = {tokenizer(sentence)["input_ids"][-1] for sentence in SENTENCES}
    if len(ends) > 1:
        raise ValueError(
            f"the tokenizer of model {name!r} ends captions with no token of its own; CLIP pools that token"
        )
    (end,), pooled = ends, config.text_config.end_token_id
    if end != (largest if pooled is None else pooled):
        told = f"{config.text_config.eos_token_id!r}" + (f", for the largest id, {largest}," if pooled is None else "")
        raise ValueError(
            f"the tokenizer of model {name!r} ends captions with token {end}, its config.json has {told} as "
            f"text_config.eos_token_id; write {end} there, or put the tokenizer that belongs to the model beside it"
        )


def _check_merges(tokenizer: Any, name: str) -> None:
    """Refuse a truncated list of merges, which splits words into letters."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    model = json.loads(backend.to_str())["model"] if backend is not None else {}
    if model.get("type") != "BPE":
        return
    made = {"".join(pair.split(" ") if isinstance(pair, str) else pair) for pair in model["merges"]}
    words = {
        token
        for token in model["vocab"]
        if len(token.removesuffix("</w>")) > 1 and not PLACEHOLDER.match(token.lower())
    }
    lacking = words - made - tokenizer.get_added_vocab().keys()
    if lacking:
        raise ValueError(
            f"the tokenizer of model {name!r} lacks the merges that make {len(lacking)} of its tokens, such as "
            f"{min(lacking)!r}; copy or download merges.txt, or tokenizer.json, again"
        )


__all__ = ["load_image_processor", "load_tokenizer", "read_json_file"]
