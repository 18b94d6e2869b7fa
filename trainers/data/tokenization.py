"""Tokenise the captions of a split once, cached beside its table."""

import hashlib
import json
from typing import Any

import datasets

from dataset_scripts.annotations.captions import clean_caption

__all__ = ["tokenized_captions"]

_FEATURES = datasets.Features({"input_ids": datasets.List(datasets.List(datasets.Value("int32")))})
_RULES = "tokens 2"  # another number where `_tokenize` changes: what older versions have kept is then not used


def tokenized_captions(dataset: datasets.Dataset, tokenizer: Any, clean: bool = True) -> datasets.Dataset:
    """Return the token ids of all captions, row by row, as `input_ids`.

    Captions are cut to the tokenizer's `model_max_length` and keep their end token. If `datasets` keeps the table on
    disk, the tokens are cached beside it for later runs with the same data set and tokenizer file.

    Args:
        dataset: rows with `captions`.
        tokenizer: CLIP's.
        clean: apply `clean_caption` first, like the processor.

    Raises ValueError: a blank caption.
    """
    return dataset.select_columns("captions").map(
        _tokenize,
        batched=True,
        with_indices=True,
        fn_kwargs={"tokenizer": tokenizer, "clean": clean},
        remove_columns="captions",
        features=_FEATURES,
        new_fingerprint=_fingerprint(dataset, tokenizer, clean),
        desc="Tokenizing captions",
    )


def _tokenize(rows: dict[str, list[list[str]]], numbers: list[int], tokenizer: Any, clean: bool) -> dict[str, list]:
    cleaned = [[clean_caption(caption) if clean else caption for caption in captions] for captions in rows["captions"]]
    for number, captions in zip(numbers, cleaned, strict=True):
        if not all(caption.strip() for caption in captions):
            raise ValueError(f"training row {number} has a blank caption; remove it from the annotation")
    flat = [caption for captions in cleaned for caption in captions]
    token_ids = iter(tokenizer(flat, truncation=True)["input_ids"] if flat else [])
    return {"input_ids": [[next(token_ids) for _ in captions] for captions in cleaned]}


def _fingerprint(dataset: datasets.Dataset, tokenizer: Any, clean: bool) -> str:
    """Hash of the data set, the tokenizer's rules and vocabulary, its length limit, and `_RULES`."""
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    for last_call in ("truncation", "padding"):  # left there by the last call, and set by every call
        rules.pop(last_call)
    parts = [_RULES, clean, dataset._fingerprint, tokenizer.model_max_length, rules]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
