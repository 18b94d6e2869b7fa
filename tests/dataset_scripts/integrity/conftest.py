"""Small folders of data sets, with their rows in memory."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dataset_scripts.formats import AnnotationFormat, SplitCounts, get_format
from dataset_scripts.formats.cuhk_pedes import CuhkPedes
from dataset_scripts.integrity.checker import check_folder
from dataset_scripts.integrity.report import FolderReport
from person_search_folders import FOLDERS, make_folder


@dataclass
class DataFolder:
    """A folder; its rows where the annotation is one JSON list, or JSON lines."""

    path: Path
    layout: AnnotationFormat
    annotation: Path
    rows: list[dict]

    def image(self, row: int) -> Path:
        return self.path / self.layout.image_folder / self.rows[row][self.layout.image_field]

    def write(self) -> None:
        lines = self.annotation.suffix == ".jsonl"
        self.annotation.write_text("\n".join(map(json.dumps, self.rows)) if lines else json.dumps(self.rows))

    def check(self, **options: object) -> FolderReport:
        return check_folder(self.path, self.layout, **options)


def _rows(annotation: Path) -> list[dict]:
    text = annotation.read_text()
    if annotation.suffix == ".jsonl":
        return [json.loads(line) for line in text.split("\n") if line]
    return json.loads(text) if annotation.suffix == ".json" else []


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], DataFolder]:
    """Makes the folder `cuhk_pedes`, with its own counts as the published ones, `custom`, or another."""
    counts = {"train": SplitCounts(4, 7, 16), "validation": SplitCounts(2, 4, 8), "test": SplitCounts(2, 4, 8)}
    monkeypatch.setattr(CuhkPedes, "published", counts)

    def make(name: str, place: str = "data") -> DataFolder:
        path = make_folder(name, tmp_path / place)
        layout = get_format(FOLDERS[name]().format)
        annotation = layout.annotations(path)[0]
        return DataFolder(path, layout, annotation, _rows(annotation))

    return make
