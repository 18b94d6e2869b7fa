"""A user's own data: person ids, splits, paths and captions in all the forms they come in."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dataset_scripts import load_person_search
from dataset_scripts.annotations.records import PersonSearchRecord
from dataset_scripts.annotations.rows import AnnotationError
from dataset_scripts.formats.custom import Custom
from person_search_folders import make_folder


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[PersonSearchRecord]]:
    """Writes rows as JSON lines (or a text as it is) and reads them with the format."""

    def read(*rows: dict, file: str = "annotations.jsonl", text: str | None = None) -> list[PersonSearchRecord]:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        lines = text if text is not None else "\n".join(map(json.dumps, rows))
        (tmp_path / file).write_text(lines, encoding="utf-8")
        layout = Custom()
        return [layout.record(row) for row in layout.rows(layout.find(tmp_path))]

    return read


def row(**changes: object) -> dict:
    return {"image": "a.jpg", "person_id": 1, "caption": "A man."} | changes


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([3, 1, 3], [3, 1, 3]),
        (["3", " 0012 ", "3"], [3, 12, 3]),
        ([3, "3"], [3, 3]),
        (["b", "a", "b", "c"], [1, 0, 1, 2]),
        (["track_10", "track_9"], [0, 1]),
        (["0001_02", "0001_01"], [1, 0]),
        ([7, "p7", "6"], [1, 2, 0]),
        ([0, 2**63 - 1], [0, 2**63 - 1]),
    ],
)
def test_person_ids(read: Callable, given: list, expected: list[int]):
    records = read(*(row(image=f"{number}.jpg", person_id=value) for number, value in enumerate(given)))
    assert [record.person_id for record in records] == expected


@pytest.mark.parametrize(
    "junk",
    ["nan", "NaN", "None", "NULL", "N/A", "#N/A", "?", "-", "-1", "1.0", "2.02E+11", "2,02E+11", "1e+16"],
)
@pytest.mark.parametrize("others", [["track_1", "track_2"], ["1", "2"]])
def test_nobody_is_no_person_beside_names_and_numbers(read: Callable, junk: str, others: list[str]):
    rows = [row(image=f"{number}.jpg", person_id=value) for number, value in enumerate([*others, junk])]
    with pytest.raises(AnnotationError, match="row 2: 'person_id' is ") as caught:
        read(*rows)
    assert caught.value.kind == "bad_person_id"


@pytest.mark.parametrize("caption", ["nan", "None", " N/A ", "null", "#REF!"])
def test_a_missing_value_is_no_caption(read: Callable, caption: str):
    with pytest.raises(AnnotationError, match="row 1: 'caption' is ") as caught:
        read(row(), row(image="b.jpg", caption=caption))
    assert caught.value.kind == "empty_caption"


@pytest.mark.parametrize("value", ["-1", "1.0", "", " ", -1, 1.0, True, None, [1], 2**63, "9" * 25, "9" * 5000])
def test_what_is_no_person_id(read: Callable, value: object):
    with pytest.raises(AnnotationError, match="row 1: 'person_id' is .*a person id is a whole number") as caught:
        read(row(), row(image="b.jpg", person_id=value))
    assert caught.value.kind == "bad_person_id"


def test_numbers_hang_on_the_names_alone(tmp_path: Path):
    folder = make_folder("custom_names", tmp_path / "set")
    layout, file = Custom(), folder / "people.jsonl"

    def numbers() -> dict[str, int]:
        return {record.image_id: record.person_id for record in map(layout.record, layout.rows(folder))}

    before = numbers()
    file.write_text("\n".join(reversed(file.read_text().splitlines())))
    assert numbers() == before and sorted(set(before.values())) == list(range(10))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train", "train"),
        ("val", "validation"),
        ("valid", "validation"),
        ("validation", "validation"),
        ("dev", "validation"),
        (" test ", "test"),
        ("Train", "train"),
        ("TESTING", "test"),
    ],
)
def test_split_names(read: Callable, name: str, expected: str):
    assert [record.split for record in read(row(split=name), row(image="b.jpg", split="train"))] == [expected, "train"]


@pytest.mark.parametrize("name", ["gallery", "Trains", 1, ["train"], False])
def test_an_unknown_split_is_refused(read: Callable, name: object):
    with pytest.raises(AnnotationError, match="row 1: 'split' is .*it must be one of train, training, val") as caught:
        read(row(split="train"), row(image="b.jpg", split=name))
    assert caught.value.kind == "unknown_split"


@pytest.mark.parametrize("missing", [{}, {"split": None}, {"split": ""}])
def test_either_all_rows_have_a_split_or_none(read: Callable, missing: dict):
    with pytest.raises(AnnotationError, match="row 0: 'split' is '', but neither the row nor its file names one of"):
        read(row(**missing), row(image="b.jpg", split="test"))
    assert [record.split for record in read(row(**missing), row(image="b.jpg", **missing))] == [None, None]


def test_files_may_bear_the_names_of_splits(read: Callable):
    read(row(image="1.jpg"), file="train.jsonl")
    read(row(image="2.jpg"), file="dev.jsonl")
    records = read(row(image="3.jpg"), row(image="4.jpg", split="train"), file="test.jsonl")
    splits = {record.image_id: record.split for record in records}
    assert splits == {"1.jpg": "train", "2.jpg": "validation", "3.jpg": "test", "4.jpg": "train"}


def test_a_renamed_file_is_not_served_from_an_old_table(tmp_path: Path):
    folder = make_folder("custom_imagefolder_splits", tmp_path / "set")
    load_person_search("custom", folder, None, cache_dir=tmp_path / "cache")
    (folder / "validation").rename(folder / "tmp")
    (folder / "test").rename(folder / "validation")
    (folder / "tmp").rename(folder / "test")
    sets = load_person_search("custom", folder, None, cache_dir=tmp_path / "cache")
    assert set(sets["validation"]["person_id"]) == {5, 7} and set(sets["test"]["person_id"]) == {4, 6}


def test_only_folders_of_splits_count(tmp_path: Path):
    folder = make_folder("custom_imagefolder_splits", tmp_path / "set")
    (folder / "train").rename(folder / "training_old")
    assert [file.parent.name for file in Custom().annotations(folder)] == ["test", "validation"]


def test_captions_in_a_list_or_alone(read: Callable):
    alone, several = read(row(), {"image": "b.jpg", "person_id": 1, "captions": ["A man.", "He runs."]})
    assert alone.captions == ("A man.",) and several.captions == ("A man.", "He runs.")


@pytest.mark.parametrize(("value", "camera"), [("gate", "gate"), (3, "3"), ("", None), (None, None)])
def test_cameras(read: Callable, value: object, camera: str | None):
    assert read(row(camera=value))[0].camera == camera


@pytest.mark.parametrize(
    ("changes", "words", "kind"),
    [
        ({"caption": ""}, "'caption' is '', but a caption is text with a letter or digit", "empty_caption"),
        ({"caption": 7}, "'caption' is 7, but", "bad_field"),
        ({"captions": "A man."}, "'captions' is 'A man.', but it must be a list", "bad_field"),
        ({"camera": [1]}, "'camera' is [1], but it must be text", "bad_field"),
        ({"camera": True}, "'camera' is True, but it must be text", "bad_field"),
        ({"image": "/a.jpg"}, "'image' is '/a.jpg', but an image path is relative", "bad_path"),
        ({"image": 7}, "'image' is 7, but an image path is", "bad_field"),
    ],
)
def test_a_wrong_field_is_named(read: Callable, changes: dict, words: str, kind: str):
    with pytest.raises(AnnotationError) as caught:
        read(row(image="b.jpg"), row(**changes))
    assert f"annotations.jsonl, row 1: {words}" in str(caught.value) and caught.value.kind == kind


@pytest.mark.parametrize("field", ["image", "person_id", "caption"])
def test_a_missing_field_is_named(read: Callable, field: str):
    fields = row()
    del fields[field]
    with pytest.raises(AnnotationError, match=f"row 1: the field '{field}' is missing"):
        read(row(), fields)


def test_the_column_of_a_csv_is_named(read: Callable):
    with pytest.raises(AnnotationError, match="the field 'person_id' is missing .fields here: file, caption, image"):
        read(file="people.csv", text="file,caption,image\n1,A man.,a.jpg\n")


def test_a_folder_beside_those_of_splits_is_refused_not_left_out(read: Callable, tmp_path: Path):
    (tmp_path / "query").mkdir()
    (tmp_path / "query" / "metadata.jsonl").write_text(json.dumps(row(image="b.jpg")))
    with pytest.raises(AnnotationError, match=r"query/metadata\.jsonl: its folder is named after no split.*gallery"):
        read(row(), file="Train/metadata.jsonl")


def test_a_file_beside_those_of_splits_is_named(read: Callable, tmp_path: Path):
    (tmp_path / "query.jsonl").write_text(json.dumps(row(image="b.jpg")))
    with pytest.raises(AnnotationError, match=r"query\.jsonl, row 0: .*neither the row nor its file"):
        read(row(), file="train.jsonl")


@pytest.mark.parametrize("caption", ["['A man.']", '["A man.", "He walks."]', "('A man.',)"])
def test_a_list_in_a_cell_is_no_caption(read: Callable, caption: str):
    with pytest.raises(AnnotationError, match="it must be one sentence. Write one caption a row") as caught:
        read(row(caption=caption))
    assert caught.value.kind == "bad_field"


def test_a_path_in_a_folder_of_a_split_stays_below_it(read: Callable):
    with pytest.raises(AnnotationError, match="'image' is 'train/../a.jpg', but"):
        read({"file_name": "../a.jpg", "person_id": 1, "caption": "A man."}, file="train/metadata.jsonl")


def test_broken_rows_wait_until_they_are_read(tmp_path: Path):
    (tmp_path / "annotations.jsonl").write_text("7\n" + json.dumps(row(person_id="x")) + "\n{\n")
    layout = Custom()
    first, good, last = layout.rows(tmp_path)
    assert layout.record(good).person_id == 0
    for broken in (first, last):
        with pytest.raises(AnnotationError, match="row [02]: "):
            layout.record(broken)


@pytest.mark.parametrize(
    ("name", "options", "splits"),
    [
        ("custom_names", {}, {"train": 7, "validation": 1, "test": 2}),
        ("custom_names", {"validation_share": 0}, {"train": 8, "test": 2}),
        ("custom_names", {"validation_share": 0.3, "test_share": 0.4}, {"train": 2, "validation": 3, "test": 5}),
        ("custom_names", {"validation_share": 0, "test_share": 0}, {"train": 10}),
        ("custom", {"validation_share": 0, "test_share": 0}, {"train": 4, "validation": 2, "test": 2}),
    ],
)
def test_shares(name: str, options: dict, splits: dict[str, int], tmp_path: Path):
    folder = make_folder(name, tmp_path / "set")
    sets = load_person_search("custom", folder, None, cache_dir=tmp_path / "cache", **options)
    assert {split: len(set(part["person_id"])) for split, part in sets.items()} == splits


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"test_share": 0.2}, "test_share is 0.2, but the set already has a test split"),
        ({"validation_share": 1.0}, "validation_share is 1.0: it must be a finite number"),
        ({"split_seed": -1}, "split_seed is -1: it must be an integer"),
        ({"on_bad_image": "drop"}, "on_bad_image is 'drop', but must be 'error' or 'skip'"),
        ({"clean_captions": "no"}, "clean_captions is 'no', but must be true or false"),
    ],
)
def test_wrong_options_are_refused(options: dict, words: str, tmp_path: Path):
    folder = make_folder("custom", tmp_path / "set")
    with pytest.raises(ValueError, match=words):
        load_person_search("custom", folder, cache_dir=tmp_path / "cache", **options)


def test_an_unknown_option_gets_the_nearest(tmp_path: Path):
    with pytest.raises(TypeError, match="custom has no option 'val_share'.*Did you mean 'validation_share'"):
        load_person_search("custom", tmp_path, val_share=0.1)
