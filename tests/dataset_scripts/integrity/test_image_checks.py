"""Looking at image files: what headers tell, what only decoding tells, and what is the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFile

from dataset_scripts.integrity import image_checks

if TYPE_CHECKING:
    from tests.dataset_scripts.integrity.conftest import DataFolder

Make = Callable[[str], "DataFolder"]


def test_bytes_behind_an_image_are_no_false_alarm(data_folder: Make):
    data = data_folder("custom")
    data.image(3).write_bytes(data.image(3).read_bytes() + b"\0" * 40)
    assert data.check().clean


def test_damage_inside_is_found_by_decoding_only(data_folder: Make):
    data = data_folder("custom")
    content = data.image(3).read_bytes()
    middle = len(content) // 2
    data.image(3).write_bytes(content[:middle] + b"\xff\xd8" + content[middle:])
    assert data.check().clean
    assert data.check(decode=True).findings.counts == {"truncated_image": 1}


def test_only_headers_are_read_without_decode(data_folder: Make, monkeypatch):
    data = data_folder("custom")
    assert data.check().clean
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: 1 / 0)
    report = data.check()
    assert report.clean and (report.checked, report.good_images) == ("headers", 16)


def test_annotation_only_looks_at_no_image(data_folder: Make):
    data = data_folder("cuhk_pedes")
    shutil.rmtree(data.path / "imgs" / "cam_a")
    report = data.check(annotation_only=True)
    assert report.clean and (report.checked, report.good_images, report.usable_with_skip) == ("nothing", None, True)


def test_a_missing_sub_folder_is_one_case_and_not_one_an_image(data_folder: Make):
    data = data_folder("cuhk_pedes")
    for folder in ("cam_a", "Market"):
        shutil.rmtree(data.path / "imgs" / folder)
    findings = data.check().findings
    assert findings.counts == {"missing_folder": 2}
    assert [example.text for example in findings.examples["missing_folder"]] == [
        "cam_a/, images listed in it: 3",
        "Market/, images listed in it: 2",
    ]


def test_the_same_picture_is_of_one_kind(data_folder: Make):
    """Three of person 0 (training), a fourth in the test split, all of the same bytes."""
    data = data_folder("custom")
    for row in (1, 2, 15):
        shutil.copy(data.image(0), data.image(row))
    for options in ({}, {"decode": True}):
        assert data.check(**options).findings.counts == {
            "copied_image": 1,
            "copied_image_of_two_persons": 1,
            "picture_in_two_splits": 1,
        }


def test_a_picture_encoded_again_in_the_test_split_is_found_by_decoding(data_folder: Make):
    data = data_folder("custom")
    Image.open(data.image(0)).resize((40, 80)).save(data.image(15), quality=85)
    assert data.check().clean
    assert data.check(decode=True).findings.counts == {"picture_in_two_splits": 1}


def test_empty_and_plain_images_are_no_copies(data_folder: Make):
    data = data_folder("custom")
    for row in (2, 3):
        data.image(row).write_bytes(b"")
    for row, shade in ((4, 90), (5, 91)):
        Image.new("RGB", (32, 64), (shade, shade, shade)).save(data.image(row))
    assert data.check(decode=True).findings.counts == {"empty_image": 2}


def test_images_that_are_persons_of_their_own_may_be_copies(data_folder: Make):
    data = data_folder("mals")
    shutil.copy(data.image(0), data.image(1))
    assert data.check().findings.counts.keys() - {"other_counts"} == {"copied_image"}


def test_many_images_are_looked_at_in_parts(data_folder: Make, monkeypatch):
    monkeypatch.setattr(image_checks, "IMAGES_AT_ONCE", 3)
    data = data_folder("custom")
    Image.fromarray(np.zeros((18, 8), dtype=np.uint8)).save(data.image(11), "PNG")
    data.image(14).unlink()
    findings = data.check(decode=True).findings
    assert findings.counts == {"odd_mode": 1, "missing_image": 1}
    assert [findings.examples[kind][0].row for kind in ("odd_mode", "missing_image")] == [11, 14]
