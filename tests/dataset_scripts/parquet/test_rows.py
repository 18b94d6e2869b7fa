"""Parquet of others is checked as folders are, and opens nothing that a row names."""

from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dataset_scripts import load_person_search
from dataset_scripts.builders.concatenate import concatenate_training_sets
from dataset_scripts.builders.image_features import check_images_inside
from dataset_scripts.commands import check
from dataset_scripts.common.images import ImageError
from dataset_scripts.parquet import convert_to_parquet
from dataset_scripts.parquet.manifest import MANIFEST
from dataset_scripts.parquet.shards import file_sha256

FEATURES = datasets.Features(
    {
        "image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
        "image_id": datasets.Value("string"),
        "person_id": datasets.Value("int64"),
        "captions": datasets.List(datasets.Value("string")),
        "camera": datasets.Value("string"),
    }
)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "outside.png"
    Image.fromarray(np.full((8, 4, 3), 7, np.uint8)).save(path)
    return path


def row(picture: Path, number: int, **changes: object) -> dict:
    image = {"bytes": picture.read_bytes(), "path": None}
    fields = {"image": image, "image_id": f"{number}.png", "person_id": number, "captions": ["a man"], "camera": None}
    return {**fields, **changes}


def write(folder: Path, name: str, rows: list[dict]) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_list(rows, features=FEATURES).to_parquet(str(folder / name))
    return folder


def load(folder: Path, split: str | None = None, **options: bool):
    return load_person_search("parquet", folder, split, cache_dir=folder.parent / "cache", **options)


@pytest.mark.parametrize("path", ["{here}", "outside.png", "http://127.0.0.1:9/a.png", "zip://a.png::{here}", None])
class TestARowWithoutBytes:
    @pytest.fixture
    def folder(self, picture: Path, tmp_path: Path, path: str | None, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(picture.parent)
        named = {"bytes": None, "path": path and path.format(here=picture)}
        return write(tmp_path / "set", "train.parquet", [row(picture, 0), row(picture, 1, image=named)])

    def test_is_never_read(self, folder: Path):
        rows = load(folder, "train")
        assert rows[0]["image"].size == (4, 8)
        with pytest.raises(ImageError, match="not inside the set"):
            rows[1]
        with pytest.raises(ValueError, match=r"train.parquet, row 1: 'image' holds no bytes"):
            check_images_inside(rows)

    def test_stops_a_stream(self, folder: Path):
        with pytest.raises(ValueError, match=r"train.parquet, row 1: 'image' holds no bytes"):
            list(load(folder, "train", streaming=True))

    def test_is_never_embedded_or_joined(self, folder: Path, tmp_path: Path):
        for use in (
            lambda rows: convert_to_parquet({"train": rows}, tmp_path / "copy", source="parquet"),
            lambda rows: concatenate_training_sets({"a": rows}),
        ):
            with pytest.raises(ValueError, match=r"train.parquet, row 1: 'image' holds no bytes"):
                use(load(folder, "train"))
        assert not (tmp_path / "copy").exists()

    def test_fails_the_check(self, folder: Path):
        with pytest.raises(ValueError, match=r"train.parquet, row 1: 'image' holds no bytes"):
            check.main([str(folder)])


def test_a_file_that_is_no_picture_is_not_embedded(picture: Path, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("a secret")
    features = datasets.Features({**FEATURES, "image": datasets.Image(decode=False)})
    rows = datasets.Dataset.from_list([row(picture, 0, image={"bytes": None, "path": str(secret)})], features=features)
    with pytest.raises(OSError, match="it is a text"):
        convert_to_parquet({"train": rows}, tmp_path / "copy", source="mine")


@pytest.mark.parametrize("shard", ["/etc/x.parquet", "data/../../x.parquet", "../x.parquet"])
def test_a_record_names_no_shard_elsewhere(converted: Path, shard: str):
    manifest = converted / MANIFEST
    manifest.write_text(manifest.read_text().replace("data/test-00000-of-00001.parquet", shard))
    with pytest.raises(ValueError, match="shards lie in data/"):
        load_person_search("parquet", converted, "train")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"person_id": -1}, "row 1: 'person_id' is -1, but"),
        ({"person_id": None}, "row 1: 'person_id' is None, but"),
        ({"captions": []}, "row 1: 'captions' is \\[\\], but"),
        ({"captions": ["a man", None]}, "row 1: 'captions' is"),
        ({"captions": ["nan"]}, "row 1: 'captions' is"),
        ({"image_id": None}, "row 1: 'image_id' is None, but"),
        ({"image_id": "0.png"}, "row 1: image 0.png shows person 1 here, but person 0 in row 0"),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_wrong_row_is_named(picture: Path, tmp_path: Path, changes: dict, words: str, streaming: bool):
    folder = write(tmp_path / "set", "train.parquet", [row(picture, 0), row(picture, 1, **changes)])
    with pytest.raises(ValueError, match=f"train.parquet, {words}"):
        load(folder, "train", streaming=streaming)


WRONG = [
    ({"person_id": 0}, "test: 1 person id.s. are in more than one split"),
    ({"person_id": -1}, "test, row 0: 'person_id' is -1"),
    ({"captions": ["nan"]}, "test, row 0: 'captions' is"),
    ({"captions": None}, "test, row 0: 'captions' is None"),
    ({"image_id": "0.png"}, "test, row 0: image 0.png shows person 1 here, but person 0"),
]


@pytest.mark.parametrize(("changes", "words"), WRONG)
def test_what_loading_refuses_is_not_converted(picture: Path, tmp_path: Path, changes: dict, words: str):
    rows = {"train": row(picture, 0), "test": row(picture, 1, **changes)}
    splits = {name: datasets.Dataset.from_list([fields], features=FEATURES) for name, fields in rows.items()}
    with pytest.raises(ValueError, match=f"mine, {words}"):
        convert_to_parquet(splits, tmp_path / "copy", source="mine")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(("changes", "words"), WRONG[:4])
def test_a_record_vouches_for_no_row(picture: Path, tmp_path: Path, changes: dict, words: str, streaming: bool):
    rows = {"train": row(picture, 0), "test": row(picture, 1)}
    splits = {name: datasets.Dataset.from_list([fields], features=FEATURES) for name, fields in rows.items()}
    folder = tmp_path / "set"
    manifest = convert_to_parquet(splits, folder, source="mine")
    name = "data/test-00000-of-00001.parquet"
    write(folder, name, [row(picture, 1, **changes)])
    size, digest = (folder / name).stat().st_size, file_sha256(folder / name)
    manifest.shards[name] = replace(manifest.shards[name], file_bytes=size, sha256=digest)
    manifest.write(folder)
    with pytest.raises(ValueError, match=words.replace("test", "test-00000-of-00001.parquet")):
        load(folder, "test", streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_person_in_two_splits(picture: Path, tmp_path: Path, streaming: bool):
    write(tmp_path / "set", "train.parquet", [row(picture, 0)])
    folder = write(tmp_path / "set", "test.parquet", [row(picture, 1, person_id=0)])
    with pytest.raises(ValueError, match="1 person id.s. are in more than one split"):
        load(folder, "train", streaming=streaming)


def _stored(picture: Path, **columns: pa.Array) -> pa.Table:
    table = datasets.Dataset.from_list([row(picture, 0), row(picture, 1)], features=FEATURES).data.table
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"image": pa.array([{"bytes": {"bytes": None, "path": "/a.png"}, "path": None}] * 2)},
            "column image is of type",
        ),
        ({"image": pa.array([{"bytes": "/a.png", "path": "/a.png"}] * 2)}, "column image is of type"),
        ({"image": pa.array([{"bytes": b"", "path": "/a.png"}] * 2)}, "row 0: 'image' holds no bytes"),
        ({"image": pa.array([{"bytes": None, "path": "/a.png"}] * 2)}, "row 0: 'image' holds no bytes"),
        ({"image_id": pa.array([b"a", b"\xff"]).view(pa.string())}, "row 1: 'image_id' is not UTF-8"),
        ("twice", "has the column image_id more than once"),
        ("empty", "has no rows"),
    ],
)
def test_what_a_shard_of_others_cannot_be(picture: Path, tmp_path: Path, change: dict | str, words: str):
    table = _stored(picture, **({} if isinstance(change, str) else change))
    if change == "twice":
        table = table.append_column("image_id", table["image_id"])
    (tmp_path / "set").mkdir()
    pq.write_table(table.slice(0, 0) if change == "empty" else table, tmp_path / "set" / "train.parquet")
    for use in (
        lambda: check.main([str(tmp_path / "set")]),
        lambda: list(load(tmp_path / "set", "train", streaming=True)),
        lambda: check_images_inside(load(tmp_path / "set", "train")),
    ):
        with pytest.raises(ValueError, match=f"train.parquet.*{words}"):
            use()


@pytest.mark.parametrize(
    "name", ["val.parquet", "valid-00000-of-00001.parquet", "dev.parquet", "Validation_0.parquet", "val/0000.parquet"]
)
def test_how_people_call_the_validation_split(picture: Path, tmp_path: Path, name: str):
    write(tmp_path / "set", "train.parquet", [row(picture, 0)])
    folder = write(tmp_path / "set", name, [row(picture, 1)])
    assert list(load(folder)) == ["train", "validation"]
    assert load(folder, "validation")["person_id"][:] == [1]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["train.parquet", "gallery.parquet"], "gallery.parquet is named after no split"),
        (["train.parquet", "val.parquet", "dev.parquet"], "names the validation split in two ways: dev and val"),
        (["train-00000-of-00002.parquet"], "has 1 of 2 train shards"),
        (["my_set_train.parquet"], "has my_set_train.parquet, which is named after no split"),
    ],
)
def test_no_file_is_left_out_without_a_word(picture: Path, tmp_path: Path, names: list[str], words: str):
    for number, name in enumerate(names):
        write(tmp_path / "set", name, [row(picture, number)])
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        load(tmp_path / "set")


def test_a_good_set_passes_the_check(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    folder = write(tmp_path / "set", "train.parquet", [row(picture, 0), row(picture, 1)])
    assert check.main([str(folder), "--decode"]) == 0
    assert "2 persons" in capsys.readouterr().out
