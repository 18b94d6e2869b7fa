"""Every way in which a folder can be wrong, and that the cache never serves what is no longer so."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import datasets
import pytest
from PIL import Image

from dataset_scripts.builders.person_search import PersonSearchBuilder
from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES
from dataset_scripts.formats.cuhk_pedes import CuhkPedes

if TYPE_CHECKING:
    from tests.dataset_scripts.conftest import CuhkFolder


@dataclass
class Case:
    """What is done to a good folder, the error that must follow, and what its message must contain."""

    name: str
    spoil: Callable
    error: type[Exception]
    words: tuple[str, ...]


def _set(field: str, value: object) -> Callable:
    """Writes `value` into `field` of row 3."""

    def spoil(cuhk: CuhkFolder) -> None:
        cuhk.rows[3][field] = value
        cuhk.write()

    return spoil


def _drop(field: str) -> Callable:
    def spoil(cuhk: CuhkFolder) -> None:
        del cuhk.rows[3][field]
        cuhk.write()

    return spoil


def _annotation(text: str) -> Callable:
    return lambda cuhk: cuhk.annotation.write_text(text)


def _rename_annotation(name: str) -> Callable:
    return lambda cuhk: cuhk.annotation.rename(cuhk.path / name)


def _link_out(cuhk: CuhkFolder) -> None:
    outside = cuhk.path.parent / "elsewhere.jpg"
    cuhk.image(3).rename(outside)
    cuhk.image(3).symlink_to(outside)


def _link_folder_out(cuhk: CuhkFolder) -> None:
    cuhk.image(3).parent.rename(cuhk.path.parent / "elsewhere")
    cuhk.image(3).parent.symlink_to(cuhk.path.parent / "elsewhere")


def _delete_images(cuhk: CuhkFolder) -> None:
    for row in (1, 3, 5, 6):
        cuhk.image(row).unlink()


def _cut_short(cuhk: CuhkFolder) -> None:
    Image.effect_noise((64, 64), 90).save(cuhk.image(3))
    cuhk.image(3).write_bytes(cuhk.image(3).read_bytes()[:-400])


def _floating_point(cuhk: CuhkFolder) -> None:
    Image.new("F", (8, 8), 0.5).save(cuhk.image(3), "TIFF")


def _same_person_elsewhere(cuhk: CuhkFolder) -> None:
    cuhk.rows[8]["id"] = 1
    cuhk.write()


PATH_RULE = ("reid_raw.json", "row 3", "file_path", "relative to the image folder")
ID_RULE = ("reid_raw.json", "row 3", "'id'", "whole number")
CAPTION_RULE = ("reid_raw.json", "row 3", "'captions'", "caption")
CASES = [
    Case(
        "no folder", lambda c: shutil.rmtree(c.path), FileNotFoundError, ("CUHK-PEDES does not exist", "reid_raw.json")
    ),
    Case("empty folder", lambda c: (shutil.rmtree(c.path), c.path.mkdir()), FileNotFoundError, ("folder is empty",)),
    Case("no annotation", lambda c: c.annotation.unlink(), FileNotFoundError, ("reid_raw.json", "holds imgs/")),
    Case("caption_all", _rename_annotation("caption_all.json"), FileNotFoundError, ("no 'split' field", "authors")),
    Case("nearest file", _rename_annotation("reid-raw.json"), FileNotFoundError, ("Did you mean 'reid-raw.json'",)),
    Case("no image folder", lambda c: shutil.rmtree(c.path / "imgs"), FileNotFoundError, ("no folder imgs/",)),
    Case(
        "not JSON",
        _annotation("[{'split': 1}]"),
        ValueError,
        ("reid_raw.json", "not the expected JSON", "after 0 rows"),
    ),
    Case(
        "not UTF-8",
        lambda c: c.annotation.write_bytes(b'["\xff"]'),
        ValueError,
        ("reid_raw.json", "not UTF-8", "0xff"),
    ),
    Case("not a list", _annotation('{"train": []}'), ValueError, ("reid_raw.json", "JSON list")),
    Case("empty list", _annotation("[]"), ValueError, ("reid_raw.json", "JSON list")),
    Case("row not an object", _annotation('["cam_a/1.jpg"]'), ValueError, ("row 0", "cam_a/1.jpg", "not an object")),
    Case("no split field", _drop("split"), ValueError, ("row 3", "'split' is missing", "caption_all.json")),
    Case("no path field", _drop("file_path"), ValueError, ("row 3", "'file_path' is missing", "captions, id")),
    Case("no id field", _drop("id"), ValueError, ("row 3", "'id' is missing")),
    Case("no captions field", _drop("captions"), ValueError, ("row 3", "'captions' is missing")),
    Case("unknown split", _set("split", "dev"), ValueError, ("row 3", "'dev'", "train, val, test")),
    Case("split not text", _set("split", ["train"]), ValueError, ("row 3", "['train']", "train, val, test")),
    Case("id true", _set("id", True), ValueError, (*ID_RULE, "True")),
    Case("id fraction", _set("id", 2.0), ValueError, (*ID_RULE, "2.0")),
    Case("id text", _set("id", "2"), ValueError, (*ID_RULE, "'2'")),
    Case("id null", _set("id", None), ValueError, (*ID_RULE, "None")),
    Case("id negative", _set("id", -1), ValueError, (*ID_RULE, "-1")),
    Case("id too large", _set("id", 2**63), ValueError, ID_RULE),
    Case("no caption", _set("captions", []), ValueError, (*CAPTION_RULE, "at least one")),
    Case("captions text", _set("captions", "A man."), ValueError, (*CAPTION_RULE, "'A man.'")),
    Case("caption empty", _set("captions", ["A man.", " \n"]), ValueError, (*CAPTION_RULE, "letter or digit")),
    Case("caption not text", _set("captions", ["A man.", 7]), ValueError, (*CAPTION_RULE, "7 is not")),
    Case("caption half a surrogate", _set("captions", ["\ud83d"]), ValueError, ("row 3", "not valid Unicode")),
    Case("path absolute", _set("file_path", "/etc/passwd"), ValueError, PATH_RULE),
    Case("path with ..", _set("file_path", "cam_a/../../x.jpg"), ValueError, PATH_RULE),
    Case("path with drive", _set("file_path", "C:/x.jpg"), ValueError, (*PATH_RULE[:3], "a drive on Windows")),
    Case("path with backslash", _set("file_path", "cam_a\\x.jpg"), ValueError, PATH_RULE),
    Case("path empty", _set("file_path", ""), ValueError, PATH_RULE),
    Case("path not text", _set("file_path", 7), ValueError, PATH_RULE),
    Case("link out", _link_out, ValueError, ("CUHK03/p2_s3.jpg (row 3)", "leave ")),
    Case("link of a sub-folder", _link_folder_out, ValueError, ("2 image path(s)", "CUHK03/p2_s3.jpg (row 3)")),
    Case("images missing", _delete_images, FileNotFoundError, ("4 of 13", "p1_s1.jpg (row 1)", "p3_s5.jpg", ", ...")),
    Case("image is a folder", lambda c: (c.image(3).unlink(), c.image(3).mkdir()), FileNotFoundError, ("1 of 13",)),
    Case("not an image", lambda c: c.image(3).write_text("<html>"), OSError, ("1 of 13", "row 3", "p2_s3.jpg")),
    Case("image cut short", _cut_short, OSError, ("1 of 13", "row 3", "p2_s3.jpg", "truncated")),
    Case("image of floating point", _floating_point, OSError, ("1 of 13", "row 3", "mode F")),
    Case("person in two splits", _same_person_elsewhere, ValueError, ("1 person id(s)", "is 1:", "row 0", "row 8")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_wrong_folder_is_refused_with_a_reason(cuhk: CuhkFolder, case: Case):
    case.spoil(cuhk)
    with pytest.raises(case.error) as caught:
        cuhk.load()
    for word in case.words:
        assert word in str(caught.value)
    assert not list(cuhk.cache_dir.rglob("*.arrow"))


def test_no_data_dir():
    with pytest.raises(ValueError, match="CUHK-PEDES needs data_dir, but it is None"):
        PersonSearchBuilder("cuhk_pedes")


def test_data_dir_is_a_file(cuhk: CuhkFolder):
    with pytest.raises(FileNotFoundError, match="is a file"):
        PersonSearchBuilder("cuhk_pedes", cuhk.annotation)


@pytest.mark.parametrize("nearby", [".", "CUHK-PEDES/imgs"])
def test_the_folder_above_or_below_is_recognised(cuhk: CuhkFolder, nearby: str):
    with pytest.raises(FileNotFoundError, match="CUHK-PEDES: pass that as data_dir"):
        PersonSearchBuilder("cuhk_pedes", cuhk.path.parent / nearby)


def test_an_empty_split_is_refused_by_name(cuhk: CuhkFolder):
    cuhk.rows = [row for row in cuhk.rows if row["split"] != "val"]
    cuhk.write()
    with pytest.raises(ValueError, match=r"no split 'validation'.*train: 7 images, test: 4 images"):
        cuhk.load("validation")


def test_an_unknown_split_gets_the_nearest(cuhk: CuhkFolder):
    with pytest.raises(ValueError, match="no split 'val'.*Did you mean 'validation'"):
        cuhk.load("val")


def test_the_image_folder_itself_may_be_a_link(cuhk: CuhkFolder):
    (cuhk.path / "imgs").rename(cuhk.path.parent / "disk")
    (cuhk.path / "imgs").symlink_to(cuhk.path.parent / "disk")
    assert len(cuhk.load()) == 7


def test_an_edited_annotation_is_read_anew(cuhk: CuhkFolder):
    before = cuhk.annotation.stat()
    assert cuhk.load()[0]["captions"][0] == "Person 1 wears a red shirt."
    cuhk.rows[0]["captions"][0] = "Person 1 wears a tan shirt."
    cuhk.write()
    # Same size and same date: only the content tells.
    os.utime(cuhk.annotation, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cuhk.annotation.stat().st_size == before.st_size
    assert cuhk.load()[0]["captions"][0] == "Person 1 wears a tan shirt."


def test_an_unchanged_annotation_is_not_built_again(cuhk: CuhkFolder, monkeypatch: pytest.MonkeyPatch):
    first = cuhk.load()
    monkeypatch.setattr(CuhkPedes, "record", lambda self, row: pytest.fail("built again"))
    second = cuhk.load()
    assert first[:]["image_id"] == second[:]["image_id"]
    assert second.features == PERSON_SEARCH_FEATURES


def test_one_relative_data_dir_in_two_places_is_two_sets(cuhk: CuhkFolder, monkeypatch: pytest.MonkeyPatch):
    other = cuhk.path.parent / "other" / "CUHK-PEDES"
    shutil.copytree(cuhk.path, other)
    paths = []
    for place in (cuhk.path.parent, other.parent):
        monkeypatch.chdir(place)
        builder = PersonSearchBuilder("cuhk_pedes", "CUHK-PEDES", cuhk.cache_dir)
        builder.download_and_prepare()
        paths.append(builder.as_dataset("train").data.column("image")[0].as_py()["path"])
    assert paths == [str(cuhk.image(0)), str(other / "imgs" / cuhk.rows[0]["file_path"])]


def test_images_gone_after_the_build_are_noticed_at_load(cuhk: CuhkFolder):
    cuhk.load()
    cuhk.image(3).unlink()
    with pytest.raises(FileNotFoundError, match="1 images of the data set have been moved or deleted.*p2_s3.jpg"):
        cuhk.load()


@pytest.mark.parametrize("warm", [False, True])
def test_an_image_that_breaks_after_the_build_is_named(cuhk: CuhkFolder, warm: bool):
    train = cuhk.load()
    cuhk.image(3).write_bytes(b"\xff\xd8\xff broken")
    train = cuhk.load() if warm else pickle.loads(pickle.dumps(train)).select(range(4))
    with pytest.raises(OSError, match="p2_s3.jpg cannot be decoded.*Restore it"):
        train[3]


def test_the_stored_schema_is_plain_datasets(cuhk: CuhkFolder):
    cuhk.load()
    info = json.loads(next(cuhk.cache_dir.rglob("dataset_info.json")).read_text())
    assert info["features"]["image"] == {"mode": "RGB", "_type": "Image"}
    again = datasets.Features.from_dict(info["features"])
    assert type(again["image"]) is datasets.Image and again.arrow_schema.equals(PERSON_SEARCH_FEATURES.arrow_schema)


def test_a_file_that_became_a_link_since_is_refused(cuhk: CuhkFolder):
    cuhk.load()
    outside = cuhk.path.parent / "outside.png"
    cuhk.image(3).rename(outside)
    cuhk.image(3).symlink_to(outside)
    with pytest.raises(ValueError, match="leaves its folder through a link"):
        cuhk.load()
