"""Other data are noticed, whatever changed; the same data elsewhere are not taken for others."""

import json
import os
import shutil
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from dataset_scripts import load_person_search
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.data.fingerprint import check_same_data, data_fingerprint

OPTIONS = {"validation_share": 0.3, "test_share": 0.3}


@pytest.fixture
def folder(tmp_path) -> Path:
    rows = [
        {"image": f"{person}_{view}.bmp", "person_id": person, "captions": [f"coat {person}", f"view {view}"]}
        for person in range(10)
        for view in range(2)
    ]
    (tmp_path / "set").mkdir()
    for number, row in enumerate(rows):
        pixels = np.random.default_rng(number).integers(256, size=(16, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "set" / row["image"])
    write(tmp_path / "set", rows)
    return tmp_path / "set"


def write(folder: Path, rows: list[dict]) -> None:
    (folder / "annotations.jsonl").write_text("\n".join(map(json.dumps, rows)))


def read(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "annotations.jsonl").read_text().splitlines()]


def fingerprint(folder: Path, **options) -> dict:
    splits = dict(load_person_search("custom", folder, None, **(OPTIONS | options)))
    found = data_fingerprint(splits, TwoStageTrainingArguments(dataset="custom", data_dir=str(folder)))
    return json.loads(json.dumps(found))


def edit_a_caption(folder):
    rows = read(folder)
    rows[6]["captions"][0] = "dress"
    write(folder, rows)


def exchange_captions(folder):
    rows = read(folder)
    rows[0]["captions"], rows[2]["captions"] = rows[2]["captions"], rows[0]["captions"]
    write(folder, rows)


def replace_an_image(folder):
    Image.new("RGB", (8, 16)).save(folder / "0_0.bmp")


def exchange_images(folder):
    os.rename(folder / "0_0.bmp", folder / "x")
    os.rename(folder / "1_0.bmp", folder / "0_0.bmp")
    os.rename(folder / "x", folder / "1_0.bmp")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (edit_a_caption, r"annotations of the \w+ split \(captions\)"),
        (exchange_captions, r"annotations of the \w+ split \(captions\)"),
        (lambda folder: write(folder, read(folder)[::-1]), r"annotations of the \w+ split \(image_id"),
        (replace_an_image, r"different: images of the \w+ split\. "),
        (exchange_images, r"images of the \w+ split"),
    ],
    ids=["caption", "captions exchanged", "order", "image replaced", "images exchanged"],
)
def test_other_data_are_named(folder, change, named, tmp_path):
    before = fingerprint(folder)
    change(folder)
    with pytest.raises(ValueError, match=named):
        check_same_data(before, fingerprint(folder), tmp_path / "checkpoint")


def test_other_splits_are_named(folder, tmp_path):
    with pytest.raises(ValueError, match="of the train split"):
        check_same_data(fingerprint(folder), fingerprint(folder, split_seed=1), tmp_path)


def test_the_same_data_elsewhere_are_the_same(folder, tmp_path, monkeypatch):
    before = fingerprint(folder)
    shutil.copytree(folder, tmp_path / "copied")  # with their times
    (tmp_path / "link").symlink_to(tmp_path / "copied")
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / "copied", tmp_path / "link", Path("set"), Path("copied/../set")):
        check_same_data(before, fingerprint(place), tmp_path)
    for path in (tmp_path / "copied").glob("*.bmp"):  # as tar unpacks them
        os.utime(path, (path.stat().st_atime, int(path.stat().st_mtime)))
    check_same_data(before, fingerprint(tmp_path / "copied"), tmp_path)


def test_tables_given_in_python_count_by_content(splits, tmp_path):
    args = TwoStageTrainingArguments()
    before = data_fingerprint(splits, args)
    shuffled = splits["train"].select(range(len(splits["train"])))
    check_same_data(before, data_fingerprint(splits | {"train": shuffled}, args), tmp_path)
    other = splits["train"].to_dict() | {"captions": [["x", "y"]] * len(splits["train"])}
    changed = datasets.Dataset.from_dict(other, features=splits["train"].features)
    with pytest.raises(ValueError, match=r"annotations of the train split \(captions\)\. "):
        check_same_data(before, data_fingerprint(splits | {"train": changed}, args), tmp_path)


def test_a_stream_counts_by_its_first_rows(splits, tmp_path):
    args = TwoStageTrainingArguments()
    stream = splits["train"].to_iterable_dataset()
    before = data_fingerprint({"train": stream}, args)
    check_same_data(before, data_fingerprint({"train": stream}, args), tmp_path)
    other = splits["train"].select(range(4)).to_iterable_dataset()
    with pytest.raises(ValueError, match="of the train split"):
        check_same_data(before, data_fingerprint({"train": other}, args), tmp_path)


def test_an_earlier_version_had_none(caplog, tmp_path):
    check_same_data(None, {}, tmp_path)
    assert "no fingerprint of the data" in caplog.text


def test_a_hundred_thousand_rows_take_a_moment():
    rows = 100_000
    columns = {
        "image_id": list(map(str, range(rows))),
        "person_id": list(range(rows)),
        "captions": [["a", "b"]] * rows,
    }
    table = datasets.Dataset.from_dict(columns)
    started = time.monotonic()
    data_fingerprint({"train": table}, TwoStageTrainingArguments())
    assert time.monotonic() - started < 20
