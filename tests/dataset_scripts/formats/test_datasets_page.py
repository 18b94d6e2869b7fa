"""What docs/datasets.md says of the sets is what the formats say, and its examples load."""

import re
from pathlib import Path

import pytest

from dataset_scripts import load_person_search
from dataset_scripts.formats import FORMATS, get_format
from person_search_folders import draw_picture

PAGE = Path(__file__).parents[3] / "docs" / "datasets.md"


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "custom"])
def test_the_page_has_the_published_counts_and_the_homepage(name: str):
    layout, text = get_format(name), PAGE.read_text()
    assert f"`{name}` | {layout.title} |" in text and layout.homepage in text
    for split, counts in {**layout.published, "all": layout.published_total}.items():
        if counts:
            cells = " | ".join("one an image" if count is None else f"{count:,}" for count in counts)
            assert f"| {split} | {cells} |" in text


def test_the_example_of_ones_own_data_loads(tmp_path: Path):
    (lines,) = re.findall(r"```jsonl\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "annotations.jsonl").write_text(lines)
    for image in re.findall(r'"image": "(.*?)"', lines):
        draw_picture(tmp_path / image, image)
    sets = load_person_search("auto", tmp_path, None, cache_dir=tmp_path / "cache")
    assert set(sets) == {"train", "validation", "test"} and sum(map(len, sets.values())) == 5
