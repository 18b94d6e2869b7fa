from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from datasets.utils.logging import get_verbosity
from PIL import Image

from dataset_scripts import load_person_search
from dataset_scripts.builders import synthetic_pedes
from dataset_scripts.builders.synthetic_pedes import SyntheticPedes, SyntheticPedesConfig, encode_jpeg
from dataset_scripts.synthetic import render_person

SMALL = {"train_identities": 4, "validation_identities": 2, "test_identities": 3}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int, int]]:
    """Replaces the renderer by one that draws nothing and notes what it was asked for."""
    asked = []

    def fake(seed: int, person_id: int, images: int, captions: int) -> list[SimpleNamespace]:
        asked.append((seed, person_id, images, captions))
        image = Image.new("RGB", (48, 144), (person_id, seed, 0))
        sentences = [f"person {person_id}"] * captions
        return [SimpleNamespace(image=image, camera=f"c{n + 1}", captions=sentences) for n in range(images)]

    monkeypatch.setattr(synthetic_pedes, "render_person", fake)
    return asked


def test_splits_are_disjoint_and_consecutive(tmp_path: Path, drawn: list[tuple]):
    sets = load_person_search("synthetic_pedes", tmp_path, None, num_proc=1, **SMALL, images_per_identity=3)
    assert {name: sorted(set(part["person_id"])) for name, part in sets.items()} == {
        "train": [0, 1, 2, 3],
        "validation": [4, 5],
        "test": [6, 7, 8],
    }
    assert [len(part) for part in sets.values()] == [12, 6, 9]
    assert drawn == [(0, person, 3, 2) for person in range(9)]
    ids = [image_id for part in sets.values() for image_id in part["image_id"]]
    assert len(set(ids)) == 27 and ids[0] == "00000_c1_0.jpg"


def test_default_sizes():
    ids = SyntheticPedesConfig().person_ids()
    assert ids == {"train": range(800), "validation": range(800, 950), "test": range(950, 1250)}


def test_every_option_is_part_of_the_key(tmp_path: Path, drawn: list[tuple]):
    def cache(**options: int) -> str:
        return SyntheticPedes(cache_dir=tmp_path, **options).cache_dir

    base = {"seed": 1, **SMALL, "images_per_identity": 2, "captions_per_image": 1}
    folders = [cache(**base)] + [cache(**{**base, option: base[option] + 1}) for option in base]
    assert len(set(folders)) == 1 + len(SyntheticPedes.option_names) == 7
    # A default given and a default meant are the same set.
    assert cache() == cache(seed=0, train_identities=800)


def test_another_renderer_is_not_served_from_the_cache(
    tmp_path: Path, drawn: list[tuple], monkeypatch: pytest.MonkeyPatch
):
    for rules, times in ((1, 9), (1, 9), (2, 18)):
        monkeypatch.setattr(synthetic_pedes, "RENDERER_RULES", rules)
        load_person_search("synthetic_pedes", tmp_path / "cache", num_proc=1, **SMALL)
        assert len(drawn) == times


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("seed", -1),
        ("train_identities", 0),
        ("validation_identities", 0),
        ("test_identities", -3),
        ("images_per_identity", 0),
        ("images_per_identity", 7),
        ("captions_per_image", 0),
        ("captions_per_image", 10**30),
        ("train_identities", 10_000_000),
        ("seed", 1.0),
        ("test_identities", True),
        ("captions_per_image", "2"),
    ],
)
def test_options_out_of_range(tmp_path: Path, option: str, value: object):
    with pytest.raises((ValueError, TypeError), match=f"^{option} is {value!r}: it must be an integer"):
        load_person_search("synthetic_pedes", tmp_path, **{option: value})


def test_one_folder_only(tmp_path: Path):
    with pytest.raises(ValueError, match="Give one of them"):
        SyntheticPedes(data_dir=tmp_path / "a", cache_dir=tmp_path / "b")


def test_processes_are_few_for_few_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(synthetic_pedes, "cpu_count", lambda: 64)
    assert SyntheticPedes(cache_dir=tmp_path, **SMALL).worker_processes() == 1
    assert SyntheticPedes(cache_dir=tmp_path).worker_processes() == 10
    assert SyntheticPedes(cache_dir=tmp_path, validation_identities=2).worker_processes() == 2


def test_jpeg_keeps_the_colour_of_small_things():
    image = Image.new("RGB", (48, 144), (40, 60, 40))
    image.paste((220, 30, 30), (21, 41, 24, 44))
    decoded = Image.open(BytesIO(encode_jpeg(image)))
    error = np.asarray(decoded, dtype=float)[41:44, 21:24] - (220, 30, 30)
    assert decoded.format == "JPEG" and np.abs(error).mean() < 8


def test_real_rows_are_those_of_the_renderer(tmp_path: Path):
    sets = load_person_search("synthetic_pedes", tmp_path, None, seed=5, **SMALL)
    row = sets["validation"][5]
    expected = render_person(5, 5, 4, 2)[1]
    assert (row["person_id"], row["camera"], row["captions"]) == (5, expected.camera, expected.captions)
    assert row["image"].mode == "RGB" and row["image"].size == (48, 144)
    error = np.asarray(row["image"], dtype=float) - np.asarray(expected.image, dtype=float)
    assert np.sqrt((error**2).mean()) < 8
    for part in sets.values():
        assert len(set(zip(part["person_id"], part["camera"], strict=True))) == len(part)
        assert all(len(captions) == 2 and all(map(str.strip, captions)) for captions in part["captions"])


def test_processes_do_not_change_the_set(tmp_path: Path):
    rows = []
    for processes in (1, 2):
        part = load_person_search("synthetic_pedes", tmp_path / str(processes), num_proc=processes, **SMALL)
        rows.append(part.data.table.combine_chunks().to_pylist())
    assert rows[0] == rows[1]


def test_it_needs_no_network_and_changes_no_logging(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[tuple], caplog: pytest.LogCaptureFixture
):
    def refuse(*_: object) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr("socket.socket.connect", refuse)
    before = get_verbosity()
    assert len(load_person_search("synthetic_pedes", tmp_path, num_proc=1, **SMALL)) == 16
    assert get_verbosity() == before and not caplog.records
