"""A tiny synthetic set, converted once; tests that change the folder get a copy."""

import shutil
from pathlib import Path

import datasets
import pytest

from dataset_scripts import load_person_search
from dataset_scripts.parquet import convert_to_parquet


@pytest.fixture(scope="session")
def splits(tmp_path_factory: pytest.TempPathFactory) -> datasets.DatasetDict:
    """12 train, 4 validation and 4 test images of 3, 1 and 1 persons."""
    sizes = {"train_identities": 3, "validation_identities": 1, "test_identities": 1}
    return load_person_search("synthetic_pedes", split=None, cache_dir=tmp_path_factory.mktemp("cache"), **sizes)


@pytest.fixture(scope="session")
def converted_once(splits: datasets.DatasetDict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set in shards of 5 images: 3 of train, 1 each of the others. Not to be changed."""
    folder = tmp_path_factory.mktemp("converted") / "set"
    convert_to_parquet(splits, folder, source="synthetic_pedes", rows_per_shard=5)
    return folder


@pytest.fixture
def converted(converted_once: Path, tmp_path: Path) -> Path:
    """A copy of the converted set."""
    return Path(shutil.copytree(converted_once, tmp_path / "set"))
