"""Splits and columns of every person-search set."""

from collections.abc import Collection

import datasets

from dataset_scripts.builders.image_features import PersonImage
from dataset_scripts.common.text.suggest import did_you_mean

__all__ = ["PERSON_SEARCH_FEATURES", "PERSON_SEARCH_SPLITS", "split_hint"]

PERSON_SEARCH_SPLITS = ("train", "validation", "test")

PERSON_SEARCH_FEATURES = datasets.Features(
    {
        "image": PersonImage(),
        "image_id": datasets.Value("string"),
        "person_id": datasets.Value("int64"),
        "captions": datasets.List(datasets.Value("string")),
        "camera": datasets.Value("string"),
    }
)
"""`image`: RGB, decoded when read. `image_id`: path relative to the image folder, the same on every machine.
`person_id`: as in the annotation file; labels for training are made from it by sorting. `captions`: one or more.
`camera`: null where the set does not tell."""


def split_hint(split: str, known: Collection[str]) -> str:
    """Return a sentence that says which split to ask for in place of a missing one; "" if none is near."""
    if split == "validation" and "test" in known:
        return " Sets without a validation split are measured on their test split: --split test."
    return did_you_mean(split, known)
