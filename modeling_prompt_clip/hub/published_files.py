"""Names of the published files of models and adapters."""

import re
from collections.abc import Callable
from pathlib import Path

from dataset_scripts.common.text.documents import read_json

__all__ = ["ADAPTER_FILES", "MODEL_FILES", "listed_adapter_file", "listed_model_file"]

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
MODEL_FILES = frozenset(
    {
        *("config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json"),
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
        *("vocab.json", "merges.txt"),
    }
)
"""Settings, processor and tokenizer of a model; its weights are `model.safetensors`, or shards and their index."""

ADAPTER_FILES = frozenset({"adapter_config.json", "adapter_model.safetensors"})
"""An adapter's settings and weights."""


def listed_model_file(folder: Path) -> Callable[[str], bool]:
    """Return a test of whether a file name belongs to the model.

    Raises ValueError: the shards' index is damaged, names other files than shards, or names a missing one.
    """
    weights = {INDEX, *_shards(folder / INDEX)} if (folder / INDEX).is_file() else {WEIGHTS}
    return (MODEL_FILES | weights).__contains__


def listed_adapter_file(name: str) -> bool:
    """Whether a file name belongs to an adapter; its card does not."""
    return name in ADAPTER_FILES


def _shards(index: Path) -> set[str]:
    remedy = "copy the run's folder again, or save the model again"
    try:
        shards = set(read_json(index)["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} is no index of safetensors files; {remedy}") from error
    for name in sorted(map(str, shards)):
        if not SHARD.fullmatch(name):
            raise ValueError(f"{index} names {name!r}; files of weights are called model-00001-of-00002.safetensors")
        if not (index.parent / name).is_file():
            raise ValueError(f"{index} names {name}, which is not there; {remedy}")
    return shards
