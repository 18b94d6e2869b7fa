from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from datasets import Features, List, Value

from dataset_scripts.builders.image_features import PersonImage
from dataset_scripts.formats.cuhk_pedes import CuhkPedes

if TYPE_CHECKING:
    from tests.dataset_scripts.conftest import CuhkFolder


def test_rows_come_through_as_the_file_has_them(cuhk: CuhkFolder):
    sets = cuhk.load(split=None)
    names = {"train": "train", "val": "validation", "test": "test"}
    for theirs, ours in names.items():
        rows = [row for row in cuhk.rows if row["split"] == theirs]
        assert len(sets[ours]) == len(rows)
        for row, loaded in zip(rows, sets[ours], strict=True):
            assert loaded["image_id"] == row["file_path"]
            assert loaded["person_id"] == row["id"]
            assert loaded["captions"] == row["captions"]
            assert loaded["camera"] == row["file_path"].split("/")[0]


def test_counts(cuhk: CuhkFolder):
    sets = cuhk.load(split=None)
    assert {name: len(part) for name, part in sets.items()} == {"train": 7, "validation": 2, "test": 4}
    assert sum(map(len, sets["train"]["captions"])) == 15
    assert Counter(sets["train"]["person_id"]) == {1: 2, 2: 2, 3: 2, 4: 1}


def test_schema_and_picture(cuhk: CuhkFolder):
    train = cuhk.load()
    assert train.features == Features(
        image=PersonImage(),
        image_id=Value("string"),
        person_id=Value("int64"),
        captions=List(Value("string")),
        camera=Value("string"),
    )
    picture = train[5]["image"]
    assert picture.mode == "RGB" and picture.size == (8, 20)
    assert abs(picture.getpixel((4, 10))[0] - 100) < 6


def test_images_are_stored_as_paths(cuhk: CuhkFolder):
    stored = cuhk.load().data.column("image").to_pylist()
    assert [image["bytes"] for image in stored] == [None] * 7
    assert stored[0]["path"] == str(cuhk.image(0))


def test_an_image_outside_every_sub_folder_has_no_camera(cuhk: CuhkFolder):
    cuhk.image(0).rename(cuhk.path / "imgs" / "loose.jpg")
    cuhk.rows[0]["file_path"] = "loose.jpg"
    cuhk.write()
    assert cuhk.load()[0]["camera"] is None


def test_without_a_validation_split_the_others_load(cuhk: CuhkFolder):
    cuhk.rows = [row for row in cuhk.rows if row["split"] != "val"]
    cuhk.write()
    assert set(cuhk.load(split=None)) == {"train", "test"}


def test_bom_unknown_fields_and_untidy_paths_are_taken(cuhk: CuhkFolder):
    cuhk.rows[0]["note"] = "seen twice"
    cuhk.rows[0]["file_path"] = "./cam_a//p1_s0.jpg"
    cuhk.annotation.write_text(json.dumps(cuhk.rows), encoding="utf-8-sig")
    assert cuhk.load()[0]["image_id"] == "cam_a/p1_s0.jpg"


def test_the_info_carries_citation_and_terms(cuhk: CuhkFolder):
    info = cuhk.load().info
    assert "li2017person" in info.citation and "cademic" in info.license and info.homepage == CuhkPedes.homepage
    assert "each image described by two sentences" in info.description
