import os
from pathlib import Path

import pytest
from datasets import Dataset
from PIL import Image

from dataset_scripts.builders.export import export_images
from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES


def _table(rows: list[tuple[int, str | None]]) -> Dataset:
    return Dataset.from_list(
        [
            {
                "image": Image.new("RGB", (6, 10), (30 * row, 0, 0)),
                "image_id": str(row),
                "person_id": person_id,
                "captions": ["a"],
                "camera": camera,
            }
            for row, (person_id, camera) in enumerate(rows)
        ],
        features=PERSON_SEARCH_FEATURES,
    )


ROWS = [(7, "c1"), (7, "c1"), (7, None), (123456, "cam a/2"), (7, "c1")]
NAMES = ["00007_c1_0.jpg", "00007_c1_1.jpg", "00007_c0_0.jpg", "123456_cam-a-2_0.jpg", "00007_c1_2.jpg"]


def test_names_order_and_pictures(tmp_path: Path):
    files = export_images(_table(ROWS), tmp_path / "deep" / "gallery")
    assert [file.name for file in files] == NAMES
    assert sorted(os.listdir(tmp_path / "deep" / "gallery")) == sorted(NAMES)
    assert os.listdir(tmp_path / "deep") == ["gallery"]
    for row, file in enumerate(files):
        with Image.open(file) as image:
            assert image.size == (6, 10) and abs(image.getpixel((3, 5))[0] - 30 * row) < 4


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (3, 3), (99, 5)])
def test_limit(tmp_path: Path, limit: int, count: int):
    files = export_images(_table(ROWS), str(tmp_path / "gallery"), limit=limit)
    assert [file.name for file in files] == NAMES[:count]


def test_limit_out_of_range(tmp_path: Path):
    with pytest.raises(ValueError, match="limit is 0"):
        export_images(_table(ROWS), tmp_path / "gallery", limit=0)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        export_images(_table(ROWS), tmp_path)
    assert os.listdir(tmp_path) == ["note.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path):
    (tmp_path / "gallery").mkdir()
    assert len(export_images(_table(ROWS), tmp_path / "gallery")) == 5


def test_a_failure_leaves_nothing_behind(tmp_path: Path):
    broken = {"image": b"broken", "image_id": "x", "person_id": 1, "captions": ["a"], "camera": None}
    table = Dataset.from_list([broken], features=PERSON_SEARCH_FEATURES)
    with pytest.raises(OSError, match="cannot be decoded"):
        export_images(table, tmp_path / "gallery")
    assert os.listdir(tmp_path) == []
