import hashlib
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_scripts import load_person_search
from dataset_scripts.annotations.records import PersonSearchRecord
from dataset_scripts.annotations.splitting import PersonSplit, read_person_split, split_by_person
from dataset_scripts.formats import get_format
from person_search_folders import make_folder

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
    options = {"validation_share": validation, "test_share": test, "split_seed": seed}
    moved_records = split_by_person(records, **options)
    splits = split_of_persons(moved_records)

    assert [one.image_id for one in moved_records] == [one.image_id for one in records]
    assert all(len(names) == 1 for names in splits.values())
    counts = {name: sum(names == {name} for names in splits.values()) for name in ("train", "validation", "test")}
    for name, share in (("validation", validation), ("test", test)):
        assert (counts[name] > 0) == (share > 0)
    assert sum(counts.values()) == len(splits) and counts["train"] > 0

    random.shuffle(records)
    assert split_of_persons(split_by_person(records, **options)) == splits


def test_the_same_persons_on_every_machine():
    """Fixed values: another order would silently change the splits of everybody's runs."""
    moved_records = split_by_person(
        [record(row, row) for row in range(20)], validation_share=0.1, test_share=0.15, split_seed=0
    )
    moved = {name: [one.person_id for one in moved_records if one.split == name] for name in ("validation", "test")}
    assert moved == {"validation": [10, 16], "test": [3, 15, 19]}
    earlier = split_by_person(
        [record(row, row) for row in range(20)],
        validation_share=0.1,
        test_share=0.15,
        split_seed=0,
        split_rule="numbers",
    )
    moved = {name: [one.person_id for one in earlier if one.split == name] for name in ("validation", "test")}
    assert moved == {"validation": [10, 16], "test": [0, 4, 14]}  # the runs of then


def test_another_seed_moves_others():
    records = [record(row, row) for row in range(100)]
    drawn = [
        {one.person_id for one in split_by_person(records, validation_share=0.2, test_share=0, split_seed=seed)
         if one.split == "validation"}
        for seed in range(3)
    ]  # fmt: skip
    assert all(8 <= len(persons) <= 32 for persons in drawn) and len({frozenset(persons) for persons in drawn}) == 3


def test_the_rule_of_before_takes_exact_shares():
    records = [record(row, row) for row in range(30)]
    moved_records = split_by_person(records, validation_share=0.1, test_share=0.7, split_seed=0, split_rule="numbers")
    assert [sum(one.split == name for one in moved_records) for name in ("train", "validation", "test")] == [6, 3, 21]


def test_other_splits_are_left_alone():
    records = [record(0, 0, "train"), record(1, 1, "train"), record(2, 2, "test"), record(3, 3, "test")]
    moved_records = split_by_person(records, validation_share=0.01, test_share=0, split_seed=1)
    assert sorted(one.split for one in moved_records[:2]) == ["train", "validation"]
    assert moved_records[2:] == records[2:]


def test_nothing_asked_nothing_moved(caplog: pytest.LogCaptureFixture):
    records = [record(0, 0), record(1, 1, "test")]
    moved_records = split_by_person(records, validation_share=0, test_share=0.0, split_seed=0)
    assert [one.split for one in moved_records] == ["train", "test"] and not caplog.records


def test_what_was_moved_is_said(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        split_by_person(
            [record(row, row // 2) for row in range(20)], validation_share=0.2, test_share=0.1, split_seed=7
        )
    assert (
        "annotations.jsonl: splits were drawn here, not by the authors: of 10 training persons, 3 went" in caplog.text
    )
    assert "to validation and 2 to test, by split_seed 7" in caplog.text


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, float("nan"), True, "0.1", None])
@pytest.mark.parametrize("name", ["validation_share", "test_share"])
def test_what_is_no_share(name: str, share: object):
    shares = {"validation_share": 0.1, "test_share": 0.1, name: share}
    with pytest.raises(
        (ValueError, TypeError), match=f"{name} is .*: it must be a finite number at least 0 and below 1"
    ):
        split_by_person([record(row, row) for row in range(9)], **shares, split_seed=0)


@pytest.mark.parametrize("seed", [-1, 0.5, True, "0", None])
def test_what_is_no_seed(seed: object):
    with pytest.raises((ValueError, TypeError), match="split_seed is .*: it must be an integer, at least 0"):
        split_by_person([record(0, 0), record(1, 1)], validation_share=0.1, test_share=0, split_seed=seed)


@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_split_that_is_there_is_not_made_again(name: str):
    shares = {"validation_share": 0.0, "test_share": 0.0, f"{name}_share": 0.2}
    records = [record(0, 0, "train"), record(1, 1, "train"), record(2, 2, name)]
    with pytest.raises(ValueError, match=f"the set already has a {name} split. Set {name}_share to 0"):
        split_by_person(records, **shares, split_seed=0)


@pytest.mark.parametrize(
    ("persons", "validation", "test"), [(0, 0.1, 0.0), (1, 0.1, 0.0), (2, 0.1, 0.1), (10, 0.5, 0.5)]
)
def test_somebody_must_stay(persons: int, validation: float, test: float):
    with pytest.raises(ValueError, match=rf"of {persons} training person\(s\) leave nobody to train on"):
        split_by_person(
            [record(row, row) for row in range(persons)], validation_share=validation, test_share=test, split_seed=0
        )


NAMES = st.lists(st.text("abcdefgh0123456789_", min_size=1, max_size=8), min_size=12, max_size=60, unique=True)


def splits_by_name(names: list[str], **options: object) -> dict[str, str]:
    """Split of each person; numbers are given by the order of the names, as the reader of own data gives them."""
    records = [replace(record(row, row), person_name=name) for row, name in enumerate(sorted(names))]
    return {one.name: one.split for one in split_by_person(records, **options)}


@given(names=NAMES, kept=st.integers(6, 11), validation=SHARES, test=SHARES, seed=SEEDS)
@settings(deadline=None, max_examples=150)
def test_who_comes_or_goes_moves_nobody(names: list[str], kept: int, validation: float, test: float, seed: int):
    """In both directions; only a split that the shares themselves leave empty hangs on who else is there."""
    options = {"validation_share": validation, "test_share": test, "split_seed": seed}
    few, many = (splits_by_name(some, **options) for some in (names[:kept], names))

    def own(name: str) -> str:
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        place = (int.from_bytes(digest[:8], "big") >> 11) / 2**53
        return "validation" if place < validation else "test" if test and place >= 1 - test else "train"

    wanted = {"train"} | {name for name, share in (("validation", validation), ("test", test)) if share}
    if wanted <= {own(name) for name in names[:kept]}:
        assert few == {name: own(name) for name in few}
    moved = {name: (few[name], many[name]) for name in few if few[name] != many[name]}
    assert set(few.values()) == wanted
    if wanted <= {own(name) for name in names}:
        for name, (_, later) in moved.items():
            assert later == own(name)  # such a person takes the own place again once others are there


@given(names=NAMES, share=st.floats(0.0001, 0.9), seed=SEEDS)
@settings(deadline=None, max_examples=100)
def test_persons_who_come_bring_no_trained_person_into_the_test(names: list[str], share: float, seed: int):
    options = {"validation_share": 0.0, "test_share": share, "split_seed": seed}
    before, after = splits_by_name(names[:8], **options), splits_by_name(names, **options)
    if sum(split == "train" for split in before.values()) > 1:  # nobody had to be taken out of a test of all
        assert not any(before[name] == "train" and after[name] == "test" for name in before)


def test_a_share_is_reached_about():
    names = [f"track_{number}" for number in range(4000)]
    splits = list(splits_by_name(names, validation_share=0.1, test_share=0.2, split_seed=3).values())
    for name, share in (("validation", 0.1), ("test", 0.2)):
        assert abs(splits.count(name) - 4000 * share) < 4 * (4000 * share * (1 - share)) ** 0.5


def test_another_validation_share_leaves_the_test_alone():
    names = [f"track_{number}" for number in range(200)]
    tests = [
        {name for name, split in splits_by_name(names, validation_share=share, test_share=0.2, split_seed=3).items()
         if split == "test"}
        for share in (0.0, 0.1, 0.5)
    ]  # fmt: skip
    assert tests[0] == tests[1] == tests[2]


def test_no_such_rule():
    with pytest.raises(ValueError, match="split_rule is 'luck', but must be one of names, numbers"):
        split_by_person(
            [record(row, row) for row in range(9)], validation_share=0.1, test_share=0, split_seed=0, split_rule="luck"
        )


def test_a_loaded_set_knows_how_it_was_drawn(tmp_path: Path):
    folder = make_folder("custom_names", tmp_path / "set")
    for _ in range(2):  # built, and from the cache
        sets = load_person_search("custom", folder, None, cache_dir=tmp_path / "cache", split_seed=5)
        assert read_person_split(sets["test"]) == PersonSplit(0.1, 0.1, 5, "names")
    own = make_folder("custom", tmp_path / "own")
    assert read_person_split(load_person_search("custom", own, cache_dir=tmp_path / "cache")) is None


@pytest.mark.parametrize(("folder", "name"), [("custom_names", "custom"), ("mals", "mals")])
def test_a_person_who_sorts_first_moves_nobody(folder: str, name: str, tmp_path: Path):
    folder = make_folder(folder, tmp_path / "set")
    options = {"validation_share": 0.3, "test_share": 0.3, "cache_dir": tmp_path / "cache"}

    def splits() -> dict[str, str]:
        sets = load_person_search(name, folder, None, **options)
        return {image_id: split for split, part in sets.items() for image_id in part["image_id"]}

    before = splits()
    layout = get_format(name)
    file = layout.annotations(folder)[0]
    text = file.read_text()
    rows = [json.loads(line) for line in text.splitlines()] if file.suffix == ".jsonl" else json.loads(text)
    copied = folder / layout.image_folder / "first.jpg"
    shutil.copyfile(folder / layout.image_folder / next(iter(before)), copied)
    first = dict(rows[0])
    first["file_name" if "file_name" in first else layout.image_field] = "first.jpg"
    if not layout.identity_per_image:
        first[layout.person_field] = "AAA"
    rows.insert(0, first)
    file.write_text("\n".join(map(json.dumps, rows)) if file.suffix == ".jsonl" else json.dumps(rows))
    after = splits()
    assert set(after) - set(before) == {"first.jpg"}
    assert {image_id: after[image_id] for image_id in before} == before
