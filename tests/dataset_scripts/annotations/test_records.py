from dataclasses import replace
from pathlib import Path

import pytest

from dataset_scripts.annotations.records import PersonSearchRecord, check_identities, merge_rows
from dataset_scripts.annotations.rows import AnnotationError

RECORD = PersonSearchRecord(Path("set/a.json"), 0, "train", "a.jpg", 1, ("A man.",), "c1")


def rows(*changes: dict) -> list[PersonSearchRecord]:
    """Rows that differ from `RECORD` as `changes` say."""
    return [replace(RECORD, row=number, **change) for number, change in enumerate(changes)]


def test_rows_of_one_image_become_one_record_at_the_first_place():
    merged = merge_rows(
        rows(
            {"captions": ("A man.", "He runs.")},
            {"image_id": "b.jpg", "person_id": 2},
            {"captions": ("He runs.", "In red.", "In red.")},
        )
    )
    assert [record.image_id for record in merged] == ["a.jpg", "b.jpg"]
    assert merged[0] == replace(RECORD, captions=("A man.", "He runs.", "In red."))


def test_a_rows_own_repeated_captions_stay():
    assert merge_rows(rows({"captions": ("A man.", "A man.")}))[0].captions == ("A man.", "A man.")


def test_a_generator_is_merged_too():
    assert merge_rows(iter([])) == []
    assert len(merge_rows(record for record in rows({}, {}))) == 1


def test_an_image_of_two_persons_is_refused_where_there_are_persons():
    two = rows({}, {"person_id": 5})
    with pytest.raises(AnnotationError, match="image a.jpg shows person 5 here, but person 1 in row 0 of a.json") as e:
        merge_rows(two)
    assert (e.value.kind, e.value.row) == ("image_of_two_persons", 1)
    assert [record.person_id for record in merge_rows(two, identity_per_image=True)] == [1]


def test_an_image_in_two_splits_is_refused():
    with pytest.raises(
        AnnotationError, match="image a.jpg is in the split test here, but in train in row 0 of a"
    ) as e:
        merge_rows(rows({}, {"split": "test"}))
    assert (e.value.kind, e.value.row) == ("person_in_two_splits", 1)


def test_persons_in_two_splits_are_counted():
    apart = rows({}, {"image_id": "b.jpg"}, {"person_id": 2, "split": "test"})
    check_identities(apart)
    check_identities([])
    shared = apart + rows({"person_id": 2}, {"person_id": 1, "split": "validation"}, {"person_id": 1, "split": "test"})
    with pytest.raises(
        AnnotationError, match=r"2 person id\(s\).*first is 2: test in row 2, train in row 0"
    ) as caught:
        check_identities(shared)
    assert caught.value.kind == "person_in_two_splits"
