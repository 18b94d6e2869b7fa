import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_scripts.carving import carve_splits
from dataset_scripts.records import PersonSearchRecord

FILE = Path("annotations.jsonl")


def record(row: int, person_id: int, split: str | None = None) -> PersonSearchRecord:
    return PersonSearchRecord(FILE, row, split, f"{row}.jpg", person_id, ("A man.",), None)


def split_of_persons(records: list[PersonSearchRecord]) -> dict[int, set[str | None]]:
    splits: dict[int, set[str | None]] = {}
    for one in records:
        splits.setdefault(one.person_id, set()).add(one.split)
    return splits


SHARES = st.floats(0, 0.45)
SEEDS = st.integers(0, 2**40)


@given(
    persons=st.lists(st.integers(0, 2**62), min_size=20, max_size=60),
    validation=SHARES,
    test=SHARES,
    seed=SEEDS,
    random=st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=80)
def test_whole_persons_move_by_the_seed_alone(
    persons: list[int], validation: float, test: float, seed: int, random: object
):
    records = [record(row, person) for row, person in enumerate(persons)]
    if len(set(persons)) < 20:
        return
    options = {"validation_share": validation, "test_share": test, "seed": seed}
    carved = carve_splits(records, **options)
    splits = split_of_persons(carved)

    assert [one.image_id for one in carved] == [one.image_id for one in records]
    assert all(len(names) == 1 for names in splits.values())
    counts = {name: sum(names == {name} for names in splits.values()) for name in ("train", "validation", "test")}
    for name, share in (("validation", validation), ("test", test)):
        assert counts[name] == 0 if share == 0 else counts[name] == max(1, round(share * len(splits)))
    assert sum(counts.values()) == len(splits) and counts["train"] > 0

    random.shuffle(records)
    assert split_of_persons(carve_splits(records, **options)) == splits


def test_the_same_persons_on_every_machine():
    """Fixed values: another order would silently change the splits of everybody's runs."""
    carved = carve_splits([record(row, row) for row in range(20)], validation_share=0.1, test_share=0.15, seed=0)
    moved = {name: [one.person_id for one in carved if one.split == name] for name in ("validation", "test")}
    assert moved == {"validation": [10, 16], "test": [0, 4, 14]}


def test_another_seed_moves_others():
    records = [record(row, row) for row in range(100)]
    drawn = [
        {one.person_id for one in carve_splits(records, validation_share=0.2, test_share=0, seed=seed)
         if one.split == "validation"}
        for seed in range(3)
    ]  # fmt: skip
    assert all(len(persons) == 20 for persons in drawn) and len({frozenset(persons) for persons in drawn}) == 3


def test_a_tenth_of_thirty_is_three():
    records = [record(row, row) for row in range(30)]
    carved = carve_splits(records, validation_share=0.1, test_share=0.7, seed=0)
    assert [sum(one.split == name for one in carved) for name in ("train", "validation", "test")] == [6, 3, 21]


def test_other_splits_are_left_alone():
    records = [record(0, 0, "train"), record(1, 1, "train"), record(2, 2, "test"), record(3, 3, "test")]
    carved = carve_splits(records, validation_share=0.01, test_share=0, seed=1)
    assert sorted(one.split for one in carved[:2]) == ["train", "validation"]
    assert carved[2:] == records[2:]


def test_nothing_asked_nothing_moved(caplog: pytest.LogCaptureFixture):
    records = [record(0, 0), record(1, 1, "test")]
    carved = carve_splits(records, validation_share=0, test_share=0.0, seed=0)
    assert [one.split for one in carved] == ["train", "test"] and not caplog.records


def test_what_was_moved_is_said(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        carve_splits([record(row, row // 2) for row in range(20)], validation_share=0.2, test_share=0.1, seed=7)
    assert (
        "annotations.jsonl: splits were made here, not by its authors: of 10 training persons, 2 went" in caplog.text
    )
    assert "to validation and 1 to test, drawn by split_seed 7" in caplog.text


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, float("nan"), True, "0.1", None])
@pytest.mark.parametrize("name", ["validation_share", "test_share"])
def test_what_is_no_share(name: str, share: object):
    shares = {"validation_share": 0.1, "test_share": 0.1, name: share}
    with pytest.raises(ValueError, match=f"{name} is .*, but must be a share of the persons"):
        carve_splits([record(row, row) for row in range(9)], **shares, seed=0)


@pytest.mark.parametrize("seed", [-1, 0.5, True, "0", None])
def test_what_is_no_seed(seed: object):
    with pytest.raises(ValueError, match="split_seed is .*, but must be a whole number"):
        carve_splits([record(0, 0), record(1, 1)], validation_share=0.1, test_share=0, seed=seed)


@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_split_that_is_there_is_not_made_again(name: str):
    shares = {"validation_share": 0.0, "test_share": 0.0, f"{name}_share": 0.2}
    records = [record(0, 0, "train"), record(1, 1, "train"), record(2, 2, name)]
    with pytest.raises(ValueError, match=f"the set has a {name} split of its own. Set {name}_share to 0"):
        carve_splits(records, **shares, seed=0)


@pytest.mark.parametrize(
    ("persons", "validation", "test"), [(0, 0.1, 0.0), (1, 0.1, 0.0), (2, 0.1, 0.1), (10, 0.5, 0.5)]
)
def test_somebody_must_stay(persons: int, validation: float, test: float):
    with pytest.raises(ValueError, match=rf"of {persons} training person\(s\) leave nobody to train on"):
        carve_splits(
            [record(row, row) for row in range(persons)], validation_share=validation, test_share=test, seed=0
        )
