"""Every set of `person_search_folders`, through the way in that users take."""

import inspect
import json
import os
from pathlib import Path
from typing import NamedTuple

import datasets
import pytest

from dataset_scripts import load_person_search
from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES
from dataset_scripts.formats import FORMATS, detect_format, get_format
from person_search_folders import FOLDERS, make_folder


class Expected(NamedTuple):
    """What a folder loads as: images, persons and captions of each split; the first training row."""

    splits: dict[str, tuple[int, int, int]]
    image_id: str
    person_id: int
    camera: str | None
    caption: str


RED, GREEN = (
    "The person wears a red coat and carries a backpack",
    "The person wears a green coat and carries a backpack",
)
PLAIN = ", and the hat, the shirt, the trousers and the shoes are plain" * 6
VIEW = " It is view 0 of this person."
OWN_SPLITS = {"train": (8, 4, 8), "validation": (4, 2, 4), "test": (4, 2, 4)}
EXPECTED = {
    "cuhk_pedes": Expected(
        {"train": (7, 4, 16), "validation": (4, 2, 8), "test": (4, 2, 8)}, "cam_a/p1_s0.jpg", 1, "cam_a", GREEN
    ),
    "icfg_pedes": Expected(
        {"train": (12, 6, 12), "test": (6, 3, 6)}, "train/0000/0000_000_01_0303morning_0000_0.jpg", 0, "c1", RED
    ),
    "rstp_reid": Expected(
        {"train": (20, 4, 40), "validation": (5, 1, 10), "test": (5, 1, 10)}, "0000_c1_0000.jpg", 0, "c1", RED
    ),
    "ufine6926": Expected({"train": (8, 4, 16), "test": (6, 3, 12)}, "images/1.jpg", 1, None, GREEN + PLAIN),
    "synth_pedes": Expected({"train": (12, 6, 30)}, "Part2/1/0.jpg", 1, None, GREEN),
    "mals": Expected({"train": (10, 10, 10)}, "gene_crop/4x/0.jpg", 0, None, RED),
    "luperson_mllm": Expected(
        {"train": (6, 6, 21)}, "000002.jpg", 0, None, RED.replace("red", "blue") + " as Td qwen says"
    ),
    "custom": Expected(
        {"train": (8, 4, 16), "validation": (4, 2, 8), "test": (4, 2, 8)}, "images/0_0.jpg", 0, "gate 0", RED
    ),
    "custom_names": Expected(
        {"train": (14, 7, 15), "validation": (2, 1, 2), "test": (4, 2, 4)}, "images/0_0.jpg", 0, None, RED
    ),
    "custom_csv": Expected(OWN_SPLITS, "images/0_0.jpg", 0, "gate 0", RED.replace(" and", ", and")),
    "custom_excel": Expected(
        {"train": (16, 8, 32), "validation": (2, 1, 4), "test": (2, 1, 4)}, "images/0_0.jpg", 1, None, RED
    ),
    "custom_imagefolder": Expected(OWN_SPLITS, "0_0.jpg", 0, "gate 0", RED),
    "custom_imagefolder_splits": Expected(OWN_SPLITS, "train/0_0.jpg", 0, "gate 0", RED),
}


def rows_of(sets: datasets.DatasetDict) -> dict[str, list[dict]]:
    return {split: part.remove_columns("image").to_list() for split, part in sets.items()}


def test_every_folder_and_every_format_has_a_case():
    assert set(EXPECTED) == set(FOLDERS)
    assert {FOLDERS[name]().format for name in FOLDERS} == set(FORMATS)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_set_loads_by_its_name_and_by_auto(name: str, tmp_path: Path):
    folder, expected = make_folder(name, tmp_path / "set"), EXPECTED[name]
    format_name = FOLDERS[name]().format
    sets = load_person_search(format_name, folder, None, cache_dir=tmp_path / "cache")

    counts = {
        split: (len(part), len(set(part["person_id"])), sum(map(len, part["captions"])))
        for split, part in sets.items()
    }
    assert counts == expected.splits
    first = sets["train"][0]
    assert (first["image_id"], first["person_id"], first["camera"]) == expected[1:4]
    assert first["captions"][0] == expected.caption + "." + VIEW
    assert all(part.features == PERSON_SEARCH_FEATURES for part in sets.values())
    assert first["image"].size == (32, 64) and first["image"].mode == "RGB"
    persons = [set(part["person_id"]) for part in sets.values()]
    assert len(set().union(*persons)) == sum(map(len, persons))

    assert detect_format(folder).name == format_name
    assert rows_of(load_person_search("auto", folder, None, cache_dir=tmp_path / "cache")) == rows_of(sets)


@pytest.mark.parametrize("name", ["mals", "luperson_mllm", "custom", "custom_excel", "custom_imagefolder_splits"])
def test_an_edit_of_the_last_annotation_file_is_noticed(name: str, tmp_path: Path):
    folder = make_folder(name, tmp_path / "set")
    before = rows_of(load_person_search("auto", folder, None, cache_dir=tmp_path / "cache"))
    file = folder / list(FOLDERS[name]().texts)[-1]
    date = file.stat()
    file.write_bytes(file.read_bytes().replace(b"coat", b"cape"))
    os.utime(file, ns=(date.st_atime_ns, date.st_mtime_ns))
    after = rows_of(load_person_search("auto", folder, None, cache_dir=tmp_path / "cache"))
    assert "cape" not in str(before) and "cape" in str(after)


def test_captions_are_cleaned_unless_told_otherwise(tmp_path: Path):
    folder = make_folder("rstp_reid", tmp_path / "set")
    clean = load_person_search("rstp_reid", folder, cache_dir=tmp_path / "cache")
    raw = load_person_search("rstp_reid", folder, cache_dir=tmp_path / "cache", clean_captions=False)
    assert clean[0]["captions"][0] == RED + "." + VIEW
    assert raw[0]["captions"][0] == (RED + "." + VIEW).replace(". ", ".")


@pytest.mark.parametrize("name", ["rstp_reid", "mals", "custom_imagefolder_splits"])
def test_bad_images_are_refused_or_left_out(name: str, tmp_path: Path):
    folder = make_folder(name, tmp_path / "set")
    missing = FOLDERS[name]().images[1]
    (folder / missing).unlink()
    with pytest.raises(FileNotFoundError, match="1 of .* images are not in the image folder"):
        load_person_search("auto", folder, None, cache_dir=tmp_path / "cache")
    rest = load_person_search("auto", folder, None, cache_dir=tmp_path / "cache", on_bad_image="skip")
    assert sum(map(len, rest.values())) == len(FOLDERS[name]().images) - 1
    assert not any(missing.endswith(row["image_id"]) for row in rest["train"])


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_says_what_it_is(name: str):
    layout, text = get_format(name), inspect.getdoc(type(get_format(name)))
    assert layout.name == name and layout.title and layout.terms
    assert "Layout:" in text and "Terms:" in text
    if name != "custom":
        assert layout.homepage.startswith("https://") and layout.citation.startswith("@") and "Source:" in text


@pytest.mark.parametrize("name", ["cuhk_pedes", "icfg_pedes", "rstp_reid", "ufine6926", "synth_pedes"])
@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("id", "7", "'id' is '7', but a person id is a whole number"),
        ("captions", [], "'captions' is [], but it must be a list of at least one caption"),
        ("PATH", "../7.jpg", "is '../7.jpg', but an image path is relative to the image folder"),
    ],
)
def test_a_wrong_row_is_named(name: str, field: str, value: object, words: str, tmp_path: Path):
    folder = make_folder(name, tmp_path / "set")
    layout = get_format(name)
    (file,) = layout.annotations(folder)
    rows = json.loads(file.read_text())
    rows[4][layout.image_field if field == "PATH" else field] = value
    file.write_text(json.dumps(rows))
    with pytest.raises(ValueError) as caught:
        load_person_search(name, folder, cache_dir=tmp_path / "cache")
    assert f"{file}, row 4: " in str(caught.value) and words in str(caught.value)


@pytest.mark.parametrize("name", ["icfg_pedes", "rstp_reid", "ufine6926"])
def test_an_unknown_split_is_refused(name: str, tmp_path: Path):
    folder = make_folder(name, tmp_path / "set")
    (file,) = get_format(name).annotations(folder)
    file.write_text(file.read_text().replace('"split": "test"', '"split": "gallery"'))
    with pytest.raises(ValueError, match="'split' is 'gallery', but it must be one of train, val, test"):
        load_person_search(name, folder, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("name", ["synth_pedes", "mals", "luperson_mllm"])
def test_a_set_without_splits_is_training_unless_some_persons_are_taken_out(name: str, tmp_path: Path):
    folder = make_folder(name, tmp_path / "set")
    options = {"validation_share": 0.2, "test_share": 0.2, "split_seed": 3}
    sets = load_person_search(name, folder, None, cache_dir=tmp_path / "cache", **options)
    assert set(sets) == {"train", "validation", "test"}
    assert sum(map(len, sets.values())) == len(FOLDERS[name]().images)
