"""A folder in the exact CUHK-PEDES layout, with tiny pictures drawn here."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from datasets import Dataset
from PIL import Image

from dataset_scripts import load_person_search

SOURCE_FOLDERS = ("cam_a", "cam_b", "CUHK01", "CUHK03", "Market", "test_query", "train_query")
# Split, person (from 1, as in the original), number of images: person 4 has one image only.
PERSONS = (
    ("train", 1, 2),
    ("train", 2, 2),
    ("train", 3, 2),
    ("train", 4, 1),
    ("val", 5, 2),
    ("test", 6, 2),
    ("test", 7, 2),
)


@dataclass
class CuhkFolder:
    """The folder, its rows in memory, and where its tables are kept."""

    path: Path
    rows: list[dict]
    cache_dir: Path

    @property
    def annotation(self) -> Path:
        return self.path / "reid_raw.json"

    def image(self, row: int) -> Path:
        return self.path / "imgs" / self.rows[row]["file_path"]

    def write(self) -> None:
        self.annotation.write_text(json.dumps(self.rows))

    def load(self, split: str | None = "train") -> Dataset:
        return load_person_search("cuhk_pedes", self.path, split, cache_dir=self.cache_dir)


@pytest.fixture
def cuhk(tmp_path: Path) -> CuhkFolder:
    folder = CuhkFolder(tmp_path / "CUHK-PEDES", [], tmp_path / "cache")
    for split, person, images in PERSONS:
        for number in range(images):
            row = len(folder.rows)
            captions = [f"Person {person} wears a red shirt.", f"A view {number} of person {person}."]
            folder.rows.append(
                {
                    "split": split,
                    "captions": captions,
                    "file_path": f"{SOURCE_FOLDERS[row % 7]}/p{person}_s{row}.jpg",
                    "id": person,
                    "processed_tokens": [caption.lower().split() for caption in captions],
                }
            )
    folder.rows[2]["captions"].append("A third sentence.")
    del folder.rows[3]["processed_tokens"]
    for row in range(len(folder.rows)):
        folder.image(row).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 20), (20 * row, 100, 50)).save(folder.image(row))
    folder.write()
    return folder
