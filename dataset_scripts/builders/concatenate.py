"""Several training sets as one, with persons, images and cameras kept apart."""

import hashlib
import json
from collections.abc import Mapping, Sequence

import datasets
import numpy as np

from dataset_scripts.builders.image_features import PersonImage, check_images_inside
from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES

__all__ = ["concatenate_training_sets"]

_RENAMED_COLUMNS = ("person_id", "image_id", "camera")


def concatenate_training_sets(parts: Mapping[str, datasets.Dataset]) -> datasets.Dataset:
    """Concatenate sets; persons of different sets are different persons.

    Person ids are renumbered from 0, set by set, in ascending order within each. Image ids and cameras get the set's
    name in front (`icfg_pedes/a.jpg`); an unknown camera stays null. Images and captions are neither copied nor read.

    Args:
        parts: name of a set -> its rows.

    Raises ValueError: no set, or a set without rows, without a column of `PERSON_SEARCH_FEATURES`, or with captions of
        another type.
    """
    if not parts:
        raise ValueError("parts is empty; give at least one data set")
    renamed, persons = [], 0
    for name, dataset in parts.items():
        _check_part(name, dataset)
        person_ids = np.unique(dataset.with_format("numpy")["person_id"][:])
        renamed.append(_with_own_ids(name, dataset, person_ids, persons))
        persons += len(person_ids)
    rows = datasets.concatenate_datasets(renamed).select_columns(list(PERSON_SEARCH_FEATURES))
    return rows.cast_column("image", PersonImage())  # `concatenate_datasets` makes it a plain `datasets.Image`


def _check_part(name: str, dataset: datasets.Dataset) -> None:
    for column, feature in PERSON_SEARCH_FEATURES.items():
        if column not in dataset.features:
            raise ValueError(f"the data set {name} has no column {column!r}, only {dataset.column_names}; add it")
        if column == "captions" and dataset.features[column] != feature:
            raise ValueError(
                f"the captions of the data set {name} are {dataset.features[column]}; cast the column to {feature}"
            )
    check_images_inside(dataset)
    if not len(dataset):
        raise ValueError(f"the data set {name} has no rows; leave it out")


def _with_own_ids(name: str, dataset: datasets.Dataset, person_ids: np.ndarray, first: int) -> datasets.Dataset:
    key = hashlib.sha256(json.dumps([dataset._fingerprint, name, first]).encode()).hexdigest()[:32]
    ids = dataset.select_columns(list(_RENAMED_COLUMNS)).map(
        _rename_batch,
        batched=True,
        fn_kwargs={"name": name, "person_ids": person_ids, "first": first},
        features=datasets.Features({column: PERSON_SEARCH_FEATURES[column] for column in _RENAMED_COLUMNS}),
        new_fingerprint=key,
        desc=f"Renaming {name}",
    )
    rest = dataset.select_columns(["image", "captions"]).cast_column("image", PersonImage())
    return datasets.concatenate_datasets([rest, ids], axis=1)


def _rename_batch(rows: dict[str, Sequence], name: str, person_ids: np.ndarray, first: int) -> dict[str, list]:
    return {
        "person_id": (first + np.searchsorted(person_ids, rows["person_id"])).tolist(),
        "image_id": [f"{name}/{image_id}" for image_id in rows["image_id"]],
        "camera": [None if camera is None else f"{name}/{camera}" for camera in rows["camera"]],
    }
