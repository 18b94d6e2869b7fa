"""Leaks between folders, in both directions, by name and by picture."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from tests.dataset_scripts.integrity.conftest import DataFolder

Make = Callable[..., "DataFolder"]


@pytest.fixture
def two(data_folder: Make) -> tuple[DataFolder, DataFolder]:
    """A folder, and one beside it with other images."""
    return data_folder("custom"), data_folder("cuhk_pedes", "other")


def test_sets_that_share_nothing_do_not_leak(two: tuple[DataFolder, DataFolder]):
    one, other = two
    report = one.check(against=[other.path])
    assert report.clean and report.against == (str(other.path),)


@pytest.mark.parametrize("decode", [False, True])
def test_a_leak_is_found_in_both_directions(two: tuple[DataFolder, DataFolder], decode: bool):
    one, other = two
    Image.open(one.image(0)).resize((40, 80)).save(other.image(14), quality=85)
    shutil.copy(other.image(1), one.image(15))
    for first, second in ((one, other), (other, one)):
        findings = first.check(against=[second.path], decode=decode).findings
        assert findings.counts == {"leak": 2}
        texts = {example.text for example in findings.examples["leak"]}
        assert texts == {
            "images/0_0.jpg (train of data, person 0) is cam_a/p8_s14.jpg (test of other, person 8), by picture",
            "cam_b/p1_s1.jpg (train of other, person 1) is images/7_1.jpg (test of data, person 7), by picture",
        }


def test_what_both_train_on_is_no_leak(two: tuple[DataFolder, DataFolder]):
    one, other = two
    shutil.copy(one.image(0), other.image(0))
    assert one.check(against=[other.path]).clean


def test_the_same_source_name_proves_a_leak(data_folder: Make):
    one, other = data_folder("icfg_pedes"), data_folder("icfg_pedes", "other")
    other.rows[-1]["file_path"] = "test/" + one.rows[0]["file_path"].rpartition("/")[2]
    other.image(-1).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(one.image(-1), other.image(-1))
    other.write()
    findings = one.check(against=[other.path]).findings
    assert findings.examples["leak"][0].text.endswith("(test of other, person 8), by name")


def test_several_folders_are_compared_with_the_first(two: tuple[DataFolder, DataFolder], data_folder: Make):
    one, other = two
    third = data_folder("rstp_reid", "third")
    shutil.copy(one.image(0), other.image(14))
    shutil.copy(one.image(1), third.image(-1))
    # Of the others among themselves nothing is said.
    shutil.copy(other.image(0), third.image(-2))
    assert one.check(against=[other.path, third.path]).findings.counts == {"leak": 2}


def test_a_folder_with_wrong_rows_is_compared_as_far_as_it_goes(
    two: tuple[DataFolder, DataFolder], caplog: pytest.LogCaptureFixture
):
    one, other = two
    shutil.copy(one.image(0), other.image(14))
    shutil.copy(one.image(1), other.image(3))
    other.rows[3]["split"] = "held out?"
    other.rows[4]["id"] = -1
    other.write()
    other.image(2).unlink()
    with caplog.at_level(logging.WARNING):
        assert one.check(against=[other.path]).findings.counts == {"leak": 1}
    assert f"{other.path} has wrong rows" in caplog.text


def test_another_folder_that_is_no_set_is_refused_before_the_work(two: tuple[DataFolder, DataFolder]):
    one, other = two
    with pytest.raises(FileNotFoundError, match="nothing_here does not exist"):
        one.check(against=[other.path / "nothing_here"])
