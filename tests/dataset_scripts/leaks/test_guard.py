import json
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from dataset_scripts.leaks.guard import (
    ImageFile,
    drop_leaks,
    find_leaks,
    find_leaks_between,
    find_leaks_in_files,
    hash_image_files,
)
from dataset_scripts.leaks.source_names import source_name
from dataset_scripts.synthetic import render_person

MSMT17 = "0000_000_01_0303morning_0015_0.jpg"


@pytest.mark.parametrize(
    ("image_id", "other"),
    [
        (MSMT17, "icfg_pedes/train/0000/0000_000_01_0303morning_0015_0.PNG"),
        ("test/0114/0114_019_10_0303noon_0284_2_ex.jpg", "x/0114_019_10_0303noon_0284_2_ex.jpg.jpg"),
        ("Market/0002_c1s1_000451_03.jpg", "bounding_box_train/0002_c1s1_000451_03.png"),
        ("-1_c3s2_000451_03.jpg", "market/-1_c3s2_000451_03.jpg"),
        ("train_query/p11600_s14885.jpg", "cuhk_pedes/train_query/p11600_s14885.jpg"),
        ("CUHK01/0363004.png", "copy/cuhk01/0363004.jpg"),
    ],
)
def test_names_of_sources_are_known_in_every_folder(image_id: str, other: str):
    assert source_name(image_id) == source_name(other) is not None


def test_sources_are_told_apart():
    names = [MSMT17, "0114_019_10_0303noon_0284_2.jpg", "0114_019_10_0303noon_0284_2_ex.jpg", "p1_s1.jpg"]
    assert len({source_name(name) for name in names}) == 4


@pytest.mark.parametrize(
    "image_id",
    ["1.jpg", "images/1.jpg", "0000_c14_0031.jpg", "0363004.png", "CUHK03/0363004.png", "Part1/7/1.jpg", "", "a.b"]
    + ["cam_a/000_45.bmp", "00000_c3_0.jpg", "my_0002_c1s1_000451_03.jpg", "gene_crop/c_g_a_0/0.jpg"],
)
def test_names_that_prove_nothing(image_id: str):
    assert source_name(image_id) is None


class Folder:
    """Images of one set in a folder, rows in order."""

    def __init__(self, path: Path):
        self.path = path
        self.rows: list[ImageFile] = []

    def add(self, image_id: str, picture: Image.Image | None, person_id: int, split: str, **save: object) -> None:
        """Adds a row, and its image unless that shall be missing."""
        file = self.path / image_id
        file.parent.mkdir(parents=True, exist_ok=True)
        if picture is not None:
            picture.save(file, **save)
        self.rows.append(ImageFile(image_id, file, person_id, split))

    def split(self, split: str) -> list[ImageFile]:
        return [row for row in self.rows if row.split == split]

    def dataset(self, split: str) -> datasets.Dataset:
        rows = self.split(split)
        table = {
            "image": [str(row.path) for row in rows],
            "image_id": [row.image_id for row in rows],
            "person_id": [row.person_id for row in rows],
        }
        return datasets.Dataset.from_dict(table, split=split).cast_column("image", datasets.Image())


@pytest.fixture(scope="module")
def people() -> list[list[Image.Image]]:
    """Five persons, four pictures each."""
    return [[picture.image for picture in render_person(5, person)] for person in range(5)]


@pytest.fixture
def icfg(people: list[list[Image.Image]], tmp_path: Path) -> Folder:
    """Training images with the names of MSMT17: persons 10, 11 and 12, three images each, and one of one colour."""
    folder = Folder(tmp_path / "icfg")
    for person in range(3):
        for number in range(3):
            name = f"train/{person:04d}/{person:04d}_{number:03d}_01_0303morning_0015_0.jpg"
            folder.add(name, people[person][number], 10 + person, "train", quality=92)
    folder.add("grey.png", Image.new("RGB", (48, 144), "grey"), 13, "train")
    return folder


@pytest.fixture
def rstp(people: list[list[Image.Image]], tmp_path: Path) -> Folder:
    """Held-out images of four persons; two of person 0 and one of person 2 are those of `icfg`, named anew."""
    folder = Folder(tmp_path / "rstp")
    folder.add("0000_c14_0031.jpg", people[0][1].resize((128, 384)), 0, "test", quality=70)
    folder.add("0000_c14_0032.jpg", people[0][2], 0, "test", quality=50)
    folder.add("0000_c14_0033.jpg", people[3][0], 0, "test", quality=70)
    folder.add("0001_c01_0001.png", people[2][0].resize((24, 72)), 1, "validation")
    folder.add("0002_c01_0001.jpg", people[4][0], 2, "validation")
    folder.add("grey.jpg", Image.new("RGB", (48, 144), "grey"), 3, "validation")
    return folder


def _held_out(folder: Folder) -> list[ImageFile]:
    return folder.split("validation") + folder.split("test")


def test_renamed_copies_are_found_by_picture(icfg: Folder, rstp: Folder):
    report = find_leaks_in_files(icfg.rows, _held_out(rstp))
    found = [(leak.train_row, leak.split, leak.image_id, leak.person_id, leak.evidence) for leak in report.leaks]
    assert found == [
        (1, "test", "0000_c14_0031.jpg", 0, ("picture",)),
        (2, "test", "0000_c14_0032.jpg", 0, ("picture",)),
        (6, "validation", "0001_c01_0001.png", 1, ("picture",)),
    ]
    assert report.train_rows.tolist() == [1, 2, 6]
    assert report.train_person_ids.tolist() == [10, 12]
    assert report.person_rows.tolist() == [0, 1, 2, 6, 7, 8]
    assert report.leaked_images == {"validation": 1, "test": 2}
    assert report.held_out_images == {"validation": 3, "test": 3}
    assert report.by_evidence() == {"name and picture": 0, "name": 0, "picture": 3}
    assert all(leak.distance <= 9 for leak in report.leaks) and report.not_compared == 2


def test_names_prove_what_pictures_do_not_show(icfg: Folder, people: list[list[Image.Image]], tmp_path: Path):
    other = Folder(tmp_path / "other")
    other.add("a/0000_000_01_0303morning_0015_0.png", people[0][0], 5, "test")
    other.add("b/0001_000_01_0303morning_0015_0.jpg", people[1][0].crop((10, 20, 40, 90)), 6, "test")
    other.add("b/0001_001_01_0303morning_0015_0.jpg", None, 6, "test")
    other.add("c/0001_001_01_0303morning_0015_0.jpg", None, 6, "test")
    other.add("1.jpg", people[4][0], 7, "test")
    other.add("b/0001_002_01_0303morning_0015_0.jpg", people[4][1], 8, "test")
    other.add("2.jpg", people[1][2], 9, "test")
    report = find_leaks_in_files(icfg.rows, other.rows)
    assert [(leak.train_row, leak.evidence) for leak in report.leaks] == [
        (0, ("name", "picture")),
        (3, ("name",)),
        (4, ("name",)),
        (5, ("name", "picture")),
    ]
    assert report.leaks[1].distance > 9 and report.leaks[2].distance is None
    assert report.leaks[2].image_id == "b/0001_001_01_0303morning_0015_0.jpg"
    assert report.leaks[3].image_id == "2.jpg"
    assert report.leaked_images == {"test": 6}
    assert report.by_evidence() == {"name and picture": 2, "name": 2, "picture": 0}


def test_of_several_copies_the_nearest_is_named(people: list[list[Image.Image]], tmp_path: Path):
    folder = Folder(tmp_path)
    folder.add("1.png", people[0][0], 0, "train")
    folder.add("2.png", people[0][0].resize((24, 72)), 1, "test", quality=50)
    folder.add("3.png", people[0][0], 2, "test")
    folder.add("4.jpg", people[0][0].resize((24, 72)), 3, "test", quality=50)
    (leak,) = find_leaks_in_files(folder.split("train"), folder.split("test")).leaks
    assert (leak.image_id, leak.distance) == ("3.png", 0)


def test_data_sets_and_files_give_the_same_report(icfg: Folder, rstp: Folder):
    held_out = {"validation": rstp.dataset("validation"), "test": rstp.dataset("test")}
    from_files = find_leaks_in_files(icfg.rows, _held_out(rstp))
    assert find_leaks(icfg.dataset("train"), held_out).to_dict() == from_files.to_dict()
    only_test = find_leaks(icfg.dataset("train"), rstp.dataset("test"), num_proc=2)
    assert only_test.leaked_images == {"test": 2} and only_test.train_rows.tolist() == [1, 2]


def test_one_folder_is_compared_with_itself(icfg: Folder, people: list[list[Image.Image]]):
    icfg.add("test/1.jpg", people[1][2], 20, "test")
    hashed = hash_image_files(icfg.rows)
    splits = np.array(hashed.splits)
    train, test = (hashed.select(np.flatnonzero(splits == split)) for split in ("train", "test"))
    report = find_leaks_between(train, test)
    assert [(leak.train_image_id, leak.image_id) for leak in report.leaks] == [
        ("train/0001/0001_002_01_0303morning_0015_0.jpg", "test/1.jpg")
    ]


def test_leaks_are_dropped_with_their_persons_or_alone(icfg: Folder, rstp: Folder):
    train = icfg.dataset("train")
    report = find_leaks(train, rstp.dataset("test"))
    assert drop_leaks(train, report)["person_id"] == [11, 11, 11, 12, 12, 12, 13]
    alone = drop_leaks(train, report, by="images")
    assert alone["image_id"] == [row.image_id for row in icfg.rows if row.image_id not in report.summary()]
    assert not find_leaks(alone, rstp.dataset("test"))
    with pytest.raises(ValueError, match="by is 'rows', but must be 'persons' or 'images'"):
        drop_leaks(train, report, by="rows")
    with pytest.raises(ValueError, match="the report is about 10 training images, but train has 8"):
        drop_leaks(alone, report)
    with pytest.raises(ValueError, match="all 2 training images leak"):
        part = train.select([1, 2])
        drop_leaks(part, find_leaks(part, rstp.dataset("test")))


def test_nothing_leaks_from_other_pictures(icfg: Folder, rstp: Folder):
    train, held_out = icfg.dataset("train"), rstp.dataset("test").select([2])
    report = find_leaks(train, {"rstp_reid test": held_out})
    assert not report and not len(report.person_rows) and report.leaked_images == {"rstp_reid test": 0}
    assert drop_leaks(train, report) is train
    assert report.summary() == (
        "None of 10 training images is among 1 held-out images.\n"
        "1 unreadable or one-coloured image(s) were compared by name only."
    )
    assert not find_leaks(train, {}) and not find_leaks_in_files([], [])


def test_the_report_reads_well(icfg: Folder, rstp: Folder):
    report = find_leaks_in_files(icfg.rows, rstp.split("test"))
    first = report.leaks[0]
    assert report.summary().splitlines() == [
        "2 of 10 training images are held out too: 2 by picture.",
        "They show 1 person(s), who have 3 training images.",
        "test: 2 of 3 images are in training.",
        f"  train/0000/0000_001_01_0303morning_0015_0.jpg (person 10) is test 0000_c14_0031.jpg (person 0): "
        f"picture, {first.distance} bits apart",
        f"  train/0000/0000_002_01_0303morning_0015_0.jpg (person 10) is test 0000_c14_0032.jpg (person 0): "
        f"picture, {report.leaks[1].distance} bits apart",
        "1 unreadable or one-coloured image(s) were compared by name only.",
    ]
    answer = json.loads(json.dumps(report.to_dict()))
    assert answer["leaking_train_images"] == 2 and answer["train_person_ids"] == [10]
    assert answer["leaks"][0]["image_id"] == "0000_c14_0031.jpg" and answer["leaks"][0]["evidence"] == ["picture"]


def test_a_column_that_is_missing_is_named(icfg: Folder):
    train = icfg.dataset("train")
    with pytest.raises(ValueError, match="the set test has no column 'person_id'"):
        find_leaks(train, {"test": train.remove_columns("person_id")})
