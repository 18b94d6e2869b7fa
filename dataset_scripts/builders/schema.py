"""Splits and columns of every person-search set."""

import datasets

from dataset_scripts.builders.image_features import PersonImage

__all__ = ["PERSON_SEARCH_FEATURES", "PERSON_SEARCH_SPLITS"]

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
