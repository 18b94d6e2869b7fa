"""The join of the four files, and what becomes of broken captions."""

import json
import tracemalloc
from pathlib import Path

import pytest

from dataset_scripts.annotations import row_files
from dataset_scripts.annotations.rows import AnnotationError, AnnotationRow
from dataset_scripts.formats.luperson_mllm import LUPersonMllm
from person_search_folders import make_folder

NAMES = ("Td-qwen", "Td-shikra", "Ts-qwen", "Ts-shikra")


def write(folder: Path, *captions: dict[str, object]) -> list[AnnotationRow]:
    """Writes the four files in the order of `NAMES`, an empty one as one with another image, and reads them."""
    (folder / "caption").mkdir(exist_ok=True)
    for name, entries in zip(NAMES, captions, strict=True):
        (folder / "caption" / f"{name}.json").write_text(json.dumps(entries))
    return list(LUPersonMllm().rows(folder))


def by_image(rows: list[AnnotationRow]) -> dict[str, list[str]]:
    return {row.fields["image"]: row.fields["captions"] for row in rows}


def test_the_last_part_of_the_path_joins(tmp_path: Path):
    rows = write(
        tmp_path,
        {"/x/1.jpg": "a", "/x/2.jpg": "b"},
        {"y/2.jpg": "c", "y/1.jpg": "d"},
        {"2.jpg": "e", "1.jpg": "f"},
        {"1.jpg": "g", "3.jpg": "h"},
    )
    assert by_image(rows) == {"1.jpg": ["a", "d", "f", "g"], "2.jpg": ["b", "c", "e"], "3.jpg": ["h"]}
    assert [row.number for row in rows] == [0, 1, 2]
    assert [LUPersonMllm().record(row).person_id for row in rows] == [0, 1, 2]


@pytest.mark.parametrize(
    ("captions", "expected"),
    [
        (("a", "b", "c", "d"), ["a", "b", "c", "d"]),
        (("With [hair description]", "b", "c", "d"), ["c", "b", "d"]),
        (("a", "<p> b", "[shoes description].", "d"), ["a", "d"]),
        (("<p> a", "b", "<p> c", "<p> d"), ["<p> a", "b", "<p> c", "<p> d"]),
        (("a", "a", "c", "c"), ["a", "c"]),
    ],
)
def test_a_broken_caption_is_replaced_by_a_sound_static_one(tmp_path: Path, captions: tuple, expected: list[str]):
    assert by_image(write(tmp_path, *({"1.jpg": caption} for caption in captions))) == {"1.jpg": expected}


def test_the_broken_captions_of_the_folder(tmp_path: Path):
    folder = make_folder("luperson_mllm", tmp_path / "set")
    captions = by_image(list(LUPersonMllm().rows(folder)))
    assert {image: len(texts) for image, texts in captions.items()} == {
        "000000.jpg": 4, "000001.jpg": 4, "000002.jpg": 4, "000003.jpg": 3, "000004.jpg": 3, "000005.jpg": 3
    }  # fmt: skip
    assert "description]" not in str(captions) and "<" not in str(captions)


@pytest.mark.parametrize(
    ("value", "kind"), [(7, "bad_field"), (None, "empty_caption"), ({"a": 1}, "bad_field"), (" ", "empty_caption")]
)
def test_what_is_no_caption_is_named_where_it_stands(tmp_path: Path, value: object, kind: str):
    good = {"0.jpg": "a", "1.jpg": "b"}
    rows = write(tmp_path, good, good, {**good, "1.jpg": value}, good)
    layout, errors = LUPersonMllm(), []
    for row in rows:
        try:
            layout.record(row)
        except AnnotationError as error:
            errors.append(error)
    assert [(error.file.name, error.row, error.kind) for error in errors] == [("Ts-qwen.json", 1, kind)]
    assert by_image(rows)["0.jpg"] == ["a"]


def test_one_of_four_files_is_missing(tmp_path: Path):
    folder = make_folder("luperson_mllm", tmp_path / "set")
    (folder / "caption" / "Ts-shikra.json").unlink()
    with pytest.raises(FileNotFoundError, match="caption lacks Ts-shikra.json. LUPerson-MLLM has four"):
        LUPersonMllm().find(folder)


@pytest.mark.parametrize("place", ["captions", "."])
def test_the_files_may_lie_elsewhere(tmp_path: Path, place: str):
    folder = make_folder("luperson_mllm", tmp_path / "set")
    (folder / place).mkdir(exist_ok=True)
    for file in (folder / "caption").iterdir():
        file.rename(folder / place / file.name)
    assert LUPersonMllm().find(folder) == folder and len(list(LUPersonMllm().rows(folder))) == 6


def test_files_in_the_same_order_are_joined_in_the_memory_of_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(row_files, "CHUNK", 1 << 14)
    entries = {f"{number}.jpg": "x" * 500 for number in range(4_000)}
    (tmp_path / "caption").mkdir()
    for name in NAMES:
        (tmp_path / "caption" / f"{name}.json").write_text(json.dumps(entries))
    tracemalloc.start()
    count = sum(1 for _ in LUPersonMllm().rows(tmp_path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 4_000 and peak < 1 << 20 < (tmp_path / "caption" / "Td-qwen.json").stat().st_size
