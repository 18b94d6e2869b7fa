import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dataset_scripts.builders.concatenate import concatenate_training_sets
from dataset_scripts.builders.image_features import PersonImage
from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES


def make_set(person_ids: list[int], camera: str | None = "c1") -> datasets.Dataset:
    """One image a person id, in this order, all with the same image ids in every set."""
    count = len(person_ids)
    columns = {
        "image": [Image.new("RGB", (2, 3), (number, 0, 0)) for number in range(count)],
        "image_id": [f"{number}.png" for number in range(count)],
        "person_id": person_ids,
        "captions": [[f"person {person_id}", "a man"] for person_id in person_ids],
        "camera": [camera] * count,
    }
    return datasets.Dataset.from_dict(columns, features=PERSON_SEARCH_FEATURES.copy())


def test_persons_images_and_cameras_are_kept_apart():
    joined = concatenate_training_sets({"icfg": make_set([7, 3, 7]), "rstp": make_set([3, 0], camera=None)})
    assert joined["person_id"][:] == [1, 0, 1, 3, 2]
    assert joined["image_id"][:] == ["icfg/0.png", "icfg/1.png", "icfg/2.png", "rstp/0.png", "rstp/1.png"]
    assert joined["camera"][:] == ["icfg/c1"] * 3 + [None] * 2
    assert joined["captions"][3] == ["person 3", "a man"]
    assert joined[4]["image"].getpixel((0, 0)) == (1, 0, 0)
    assert joined.features == PERSON_SEARCH_FEATURES
    assert type(joined.features["image"]) is PersonImage


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.integers(-3, 9), min_size=1, max_size=6), min_size=1, max_size=3))
def test_no_two_sets_share_a_person_and_no_set_loses_one(sets):
    rows = concatenate_training_sets({f"s{number}": make_set(ids) for number, ids in enumerate(sets)})["person_id"][:]
    persons = [(number, person_id) for number, ids in enumerate(sets) for person_id in ids]
    assert rows == [sorted(set(persons)).index(person) for person in persons]


def test_it_is_the_same_every_time_and_another_for_other_names(tmp_path):
    make_set([2, 1]).save_to_disk(tmp_path / "set")

    def joined(*names):
        return concatenate_training_sets({name: datasets.load_from_disk(tmp_path / "set") for name in names})

    assert joined("a", "b")._fingerprint == joined("a", "b")._fingerprint
    assert joined("a", "b")["image_id"][:] != joined("b", "a")["image_id"][:]
    assert joined("a", "b")["camera"][:] == ["a/c1", "a/c1", "b/c1", "b/c1"]


def test_images_are_not_decoded(monkeypatch):
    parts = {"a": make_set([1]), "b": make_set([1])}
    monkeypatch.setattr(PersonImage, "decode_example", lambda *args: pytest.fail("decoded"))
    concatenate_training_sets(parts)


def test_rows_that_were_chosen_stay_chosen():
    some = make_set([5, 6, 7, 8]).select([3, 0])
    joined = concatenate_training_sets({"a": some, "b": make_set([1])})
    assert joined["image_id"][:] == ["a/3.png", "a/0.png", "b/0.png"]
    assert [captions[0] for captions in joined["captions"]] == ["person 8", "person 5", "person 1"]
    assert joined[0]["image"].getpixel((0, 0)) == (3, 0, 0)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (make_set([1]).remove_columns("camera"), "the data set odd has no column 'camera', only .'image'"),
        (make_set([]), "the data set odd has no rows; leave it out"),
        (
            make_set([1]).remove_columns("captions").add_column("captions", ["a man"]),
            "captions of the data set odd are Value.*cast the column to List",
        ),
    ],
)
def test_a_set_that_does_not_fit_is_named(broken, message):
    with pytest.raises(ValueError, match=message):
        concatenate_training_sets({"good": make_set([1]), "odd": broken})


def test_nothing_to_join_is_refused():
    with pytest.raises(ValueError, match="parts is empty"):
        concatenate_training_sets({})
