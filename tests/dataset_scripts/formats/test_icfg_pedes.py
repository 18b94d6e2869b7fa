import logging
from pathlib import Path

import pytest

from dataset_scripts import load_person_search
from dataset_scripts.annotations.rows import AnnotationRow
from dataset_scripts.formats import detect_format
from dataset_scripts.formats.icfg_pedes import IcfgPedes
from dataset_scripts.formats.rstp_reid import RstpReid
from person_search_folders import make_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder("icfg_pedes", tmp_path / "set")


@pytest.mark.parametrize("spelling", ["ICFG-PEDES.json", "ICFG_PEDES.json", "ICFG-PDES.json"])
def test_the_three_spellings(folder: Path, spelling: str, tmp_path: Path):
    (folder / "ICFG-PEDES.json").rename(folder / spelling)
    assert detect_format(folder).name == "icfg_pedes"
    assert len(load_person_search("icfg_pedes", folder, cache_dir=tmp_path / "cache")) == 12


def test_the_folders_are_not_the_split(folder: Path, tmp_path: Path):
    sets = load_person_search("icfg_pedes", folder, None, cache_dir=tmp_path / "cache")
    for part in sets.values():
        assert {image_id.split("/")[0] for image_id in part["image_id"]} == {"train", "test"}


def test_no_validation_split_unless_one_is_asked_for(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with pytest.raises(ValueError, match=r"no split 'validation', or no images in it \(train: 12 images, test: 6"):
        load_person_search("icfg_pedes", folder, "validation", cache_dir=tmp_path / "cache")
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        options = {"validation_share": 0.33, "split_seed": 5}
        sets = load_person_search("icfg_pedes", folder, None, cache_dir=tmp_path / "cache", **options)
    assert "of 6 training persons, 1 went to validation and 0 to test, by split_seed 5" in caplog.text
    assert {split: len(part) for split, part in sets.items()} == {"train": 10, "validation": 2, "test": 6}
    again = load_person_search("icfg_pedes", folder, "validation", cache_dir=tmp_path / "cache2", **options)
    assert again["image_id"][:] == sets["validation"]["image_id"][:]
    other = load_person_search(
        "icfg_pedes", folder, "validation", cache_dir=tmp_path / "cache", validation_share=0.33, split_seed=6
    )
    assert other["image_id"][:] != again["image_id"][:]


@pytest.mark.parametrize(
    ("path", "camera"),
    [
        ("test/0627/0627_010_05_0303morning_0032_1.jpg", "c5"),
        ("train/0000/0000_000_15_0114noon_0008_0_ex.jpg", "c15"),
        ("0001_023_10_0302afternoon_0032_0.jpg", "c10"),
        ("train/0000_c14_0031.jpg", None),
        ("train/0000/0000_000_5_0303morning_0008_0.jpg", None),
        ("0000_000_01_0303morning_0008_0/a.jpg", None),
    ],
)
def test_the_camera_in_a_name_of_msmt17(path: str, camera: str | None):
    assert IcfgPedes().camera(AnnotationRow(Path("a.json"), 0, {"file_path": path}, 0)) == camera


@pytest.mark.parametrize(
    ("path", "camera"),
    [("0000_c14_0031.jpg", "c14"), ("x/4100_c1_0000.png", "c1"), ("0000_14_0031.jpg", None), ("c14.jpg", None)],
)
def test_the_camera_in_a_name_of_rstpreid(path: str, camera: str | None):
    assert RstpReid().camera(AnnotationRow(Path("a.json"), 0, {"img_path": path}, 0)) == camera
