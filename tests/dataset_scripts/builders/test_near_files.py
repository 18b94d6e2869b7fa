"""A missing image's file is found under nearly its name, and only there."""

import sys
import unicodedata
from pathlib import Path

import pytest

from dataset_scripts.annotations.folders import near_folder
from dataset_scripts.builders.near_files import NearFiles
from dataset_scripts.formats import get_format

CAFE = "caf\u00e9/1.jpg"


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("CUHK01/1.JPG", "CUHK01/1.jpg"),
        ("CUHK01/1.png", "CUHK01/1.jpg"),
        ("CUHK01/1.jpg.jpg", "CUHK01/1.jpg"),
        ("cuhk01/1.jpg", "CUHK01/1.jpg"),
        ("CUHK01/1.jpg", "imgs/CUHK01/1.jpg"),
        ("imgs/CUHK01/1.jpg", "CUHK01/1.jpg"),
        ("CUHK01/1.jpg", "CUHK01/1.jpg "),
        ("CUHK01/1.jpg ", "CUHK01/1.jpg"),
        ("1.jpg", "CUHK01/1.jpg"),
        (CAFE, unicodedata.normalize("NFD", CAFE)),
        (unicodedata.normalize("NFD", CAFE), CAFE),
    ],
)
def test_near_names(tmp_path: Path, there: str, wanted: str):
    _write(tmp_path, there)
    assert NearFiles(tmp_path).find(wanted) == there


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("CUHK01/1.jpg", "CUHK03/1.jpg"),
        ("CUHK01/10.jpg", "CUHK01/1.jpg"),
        ("CUHK01/1.txt", "CUHK01/1.jpg"),
        ("CUHK01/._1.jpg", "CUHK01/1.jpg"),
        ("CUHK01/1.jpg", "CUHK01/1.jpg"),
    ],
)
def test_names_that_are_not_near(tmp_path: Path, there: str, wanted: str):
    _write(tmp_path, there)
    assert NearFiles(tmp_path).find(wanted) is None


def test_the_nearest_of_several(tmp_path: Path):
    for path in ("imgs/CUHK01/1.jpg", "CUHK01/1.JPG", "old/imgs/CUHK01/1.jpg"):
        _write(tmp_path, path)
    assert NearFiles(tmp_path).find("CUHK01/1.jpg") == "CUHK01/1.JPG"


@pytest.mark.parametrize(
    ("there", "wanted", "found"),
    [
        ("Imgs", "imgs", "Imgs"),
        ("images", "imgs", "images"),
        ("cuhk", "CUHK", "cuhk"),
        ("images", "gene_crop", None),
        ("x", "imgs", None),
    ],
)
def test_near_folders(tmp_path: Path, there: str, wanted: str, found: str | None):
    (tmp_path / there).mkdir()
    assert near_folder(tmp_path, wanted) == found


def test_the_same_name_in_many_folders_is_looked_up_and_not_compared(tmp_path: Path):
    """A scan of all candidates took minutes for frames that have the same names in each person's folder."""
    for person in range(300):
        _write(tmp_path, f"{person}/1.JPG")
    near, steps = NearFiles(tmp_path), []
    near.find("0/1.jpg")
    sys.setprofile(lambda *step: steps.append(step))
    try:
        found = near.find("299/1.jpg")
    finally:
        sys.setprofile(None)
    assert found == "299/1.JPG" and len(steps) < 100


def test_loading_names_the_folder(tmp_path: Path):
    (tmp_path / "reid_raw.json").write_text("[]")
    (tmp_path / "Images").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no folder imgs/, but Images/\. Rename it"):
        get_format("cuhk_pedes").find(tmp_path)


def _write(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"")
