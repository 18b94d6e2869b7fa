"""Folders of other programs are recognised, and told what to do."""

import json
import tarfile
from pathlib import Path

import datasets
import pytest

from dataset_scripts.formats import detect_format, get_format


def _coco(folder: Path) -> None:
    content = {"info": {}, "images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [], "categories": []}
    (folder / "instances.json").write_text(json.dumps(content))


def _long_coco(folder: Path) -> None:
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in range(5000)]
    (folder / "instances.json").write_text(json.dumps({"images": images, "annotations": []}))


def _saved(folder: Path) -> None:
    datasets.DatasetDict({"train": datasets.Dataset.from_dict({"a": [1]})}).save_to_disk(str(folder))


def _tars(folder: Path) -> None:
    with tarfile.open(folder / "shard-000000.tar", "w"):
        pass


def _packed(folder: Path) -> None:
    (folder / "annotations.jsonl.gz").write_bytes(b"\x1f\x8b")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("labels.xlsx", "Save the sheet as CSV"),
        ("ANNOTATIONS.CSV", r"Rename it to annotations\.csv"),
        ("annotations.jsonl.txt", r"Rename it to annotations\.jsonl"),
        ("annotations.ndjson", r"Rename it to annotations\.jsonl"),
    ],
)
def test_names_that_are_not_read(tmp_path: Path, name: str, told: str):
    (tmp_path / name).write_text("a")
    with pytest.raises(ValueError, match=told):
        detect_format(tmp_path)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (_coco, "COCO's form"),
        (_long_coco, "COCO's form"),
        (_saved, "load_from_disk"),
        (_tars, "webdataset"),
        (_packed, "annotations.jsonl.gz. Unpack"),
    ],
)
def test_what_a_folder_is(tmp_path: Path, make, told: str):
    make(tmp_path)
    with pytest.raises(ValueError, match=told):
        detect_format(tmp_path)
    with pytest.raises(FileNotFoundError, match=told):
        get_format("cuhk_pedes").find(tmp_path)


def test_any_other_json_is_not_coco(tmp_path: Path):
    (tmp_path / "notes.json").write_text('{"images": 3}')
    with pytest.raises(ValueError, match="no annotation file that is known"):
        detect_format(tmp_path)
