"""The checks between rows against the plain code of the builders, on small sets where everything collides."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_scripts.annotations.records import PersonSearchRecord, check_identities, merge_rows
from dataset_scripts.annotations.rows import AnnotationError
from dataset_scripts.formats import SplitCounts
from dataset_scripts.integrity.counts import count_splits, total_counts
from dataset_scripts.integrity.findings import Findings
from dataset_scripts.integrity.image_rows import ImageRows, first_with_same, image_rows
from dataset_scripts.integrity.row_checks import check_captions, check_splits, new_captions
from dataset_scripts.integrity.row_columns import SPLITS, RowColumns

FILE = Path("/data/rows.json")
ROWS = st.lists(
    st.builds(
        PersonSearchRecord,
        file=st.just(FILE),
        row=st.just(0),
        split=st.sampled_from(SPLITS[:2]),
        image_id=st.sampled_from(["a", "b", "c", "d", "e", "f"]),
        person_id=st.integers(0, 3),
        captions=st.lists(st.sampled_from("klmnop"), min_size=1, max_size=3).map(tuple),
        camera=st.none(),
    ),
    max_size=8,
)


def _rows(records: list[PersonSearchRecord], own_person: bool = False) -> ImageRows:
    columns = RowColumns()
    for number, record in enumerate(records):
        person = number if own_person else record.person_id
        columns.add(FILE, number, record.image_id, person, record.split, record.captions)
    return image_rows(columns, own_person, FILE.parent)


def _as_read(records: list[PersonSearchRecord], own_person: bool) -> list[PersonSearchRecord]:
    """Where each image is a person of its own, the number of a row is the person's id."""
    return [replace(record, person_id=number) for number, record in enumerate(records)] if own_person else records


@given(st.lists(st.integers(-3, 3)))
@settings(deadline=None, max_examples=60)
def test_first_with_same_is_the_first_index(keys: list[int]):
    assert first_with_same(np.array(keys, dtype=np.int64)).tolist() == [keys.index(key) for key in keys]


@given(ROWS, st.booleans())
@settings(deadline=None, max_examples=150)
def test_splits_are_refused_where_the_builder_refuses(records: list[PersonSearchRecord], own_person: bool):
    findings = Findings()
    check_splits(_rows(records, own_person), findings)
    try:
        check_identities(merge_rows(_as_read(records, own_person), own_person))
        refused = None
    except AnnotationError as error:
        refused = error.kind
    assert bool(findings.counts) == bool(refused)
    assert refused is None or refused in findings.counts


@given(ROWS, st.booleans())
@settings(deadline=None, max_examples=150)
def test_counts_are_those_of_the_merged_rows(records: list[PersonSearchRecord], own_person: bool):
    rows = _rows(records, own_person)
    found = count_splits(rows, new_captions(rows))
    try:
        merged = merge_rows(_as_read(records, own_person), own_person)
    except AnnotationError:
        return
    for split in SPLITS:
        of_split = [record for record in merged if record.split == split]
        persons = {record.person_id for record in of_split}
        captions = sum(len(record.captions) for record in of_split)
        expected = SplitCounts(len(persons), len(of_split), captions) if of_split else None
        assert found.get(split) == expected
    assert total_counts(found).images == len(merged)


@given(ROWS)
@settings(deadline=None, max_examples=150)
def test_repetitions_are_those_of_a_plain_loop(records: list[PersonSearchRecord]):
    rows = _rows(records)
    findings = Findings()
    check_captions(rows, new_captions(rows), findings)
    first: dict[str, PersonSearchRecord] = {}
    captions: dict[str, set[str]] = {}
    persons: dict[str, list[int]] = {}
    repeated = 0
    for record in records:
        old = first.setdefault(record.image_id, record)
        known = captions.setdefault(record.image_id, set())
        same = (old.person_id, old.split) == (record.person_id, record.split)
        repeated += old is not record and same and set(record.captions) <= known
        known |= set(record.captions)
        for caption in record.captions:
            persons.setdefault(caption, []).append(old.person_id)
    shared = sum(len(set(of_caption)) > 1 for of_caption in persons.values())
    assert findings.counts.get("repeated_row", 0) == repeated
    assert findings.counts.get("repeated_caption", 0) == shared


def test_of_what_could_not_be_read_nothing_is_said():
    columns = RowColumns()
    columns.add(FILE, 0, "a", None, "train", ("k",))
    columns.add(FILE, 1, "a", 1, None, ())
    columns.add(FILE, 2, "b", 1, "train", ("k",))
    columns.add(FILE, 3, "c", 1, None, ("k",))
    rows, findings = image_rows(columns, False, FILE.parent), Findings()
    check_splits(rows, findings)
    check_captions(rows, new_captions(rows), findings)
    assert not findings.counts
    assert rows.describe(0) == "a (train)" and rows.describe(3) == "c (person 1)"


@pytest.mark.parametrize("rows", [0, 1, 70_000])
def test_names_come_back(rows: int):
    columns = RowColumns()
    for number in range(rows):
        columns.add(FILE, 3 * number, f"ü{number}.jpg", number, "test", ())
    chosen = np.arange(0, rows, 999)
    assert columns.image_ids(chosen) == [f"ü{number}.jpg" for number in chosen]
    assert all(columns.place(number) == (FILE, 3 * number) for number in chosen.tolist())
    assert len(columns) == len(columns.persons) == len(columns.splits) == rows
