"""Rules between rows: one person per image, one split per person, no repeats."""

from itertools import groupby

import numpy as np

from dataset_scripts.integrity.findings import Example, Findings
from dataset_scripts.integrity.image_rows import ImageRows, first_with_same
from dataset_scripts.integrity.row_columns import NOT_READ, SPLITS

__all__ = ["check_captions", "check_splits", "new_captions"]

# Odd, with bits in no order: multiplying by it spreads what differs over all bits.
_MIXER = np.int64(-7046029254386353131)


def check_splits(rows: ImageRows, findings: Findings) -> None:
    """Report images of two persons, and persons in two splits."""
    persons, splits, first = rows.persons, rows.columns.splits, rows.first
    other = np.flatnonzero((persons != NOT_READ) & (persons[first] != NOT_READ) & (persons != persons[first]))
    findings.add_all("image_of_two_persons", len(other), (_image_of_two(rows, row) for row in other.tolist()))

    known = np.flatnonzero((persons != NOT_READ) & (splits != NOT_READ) & (persons == persons[first]))
    earlier = known[first_with_same(persons[known])]
    moved = splits[known] != splits[earlier]
    known, earlier = known[moved], earlier[moved]
    once = np.sort(np.unique(persons[known], return_index=True)[1])
    pairs = zip(known[once].tolist(), earlier[once].tolist(), strict=True)
    findings.add_all("person_in_two_splits", len(once), (_person_in_two(rows, *pair) for pair in pairs))


def new_captions(rows: ImageRows) -> np.ndarray:
    """Mark captions that count, bool: later rows of an image add only new ones."""
    columns = rows.columns
    captions_of_images = columns.image_keys[columns.caption_rows] * _MIXER ^ columns.caption_keys
    is_first = first_with_same(captions_of_images) == np.arange(len(captions_of_images))
    return is_first | (rows.first[columns.caption_rows] == columns.caption_rows)


def check_captions(rows: ImageRows, new: np.ndarray, findings: Findings) -> None:
    """Report repeated rows, and captions shared by persons. `new` is from `new_captions`."""
    columns, persons, splits, first = rows.columns, rows.persons, rows.columns.splits, rows.first
    caption_rows = columns.caption_rows
    has_captions = np.bincount(caption_rows, minlength=len(columns)) > 0
    has_new = np.bincount(caption_rows[new], minlength=len(columns)) > 0
    fits = (persons == persons[first]) & (splits == splits[first]) & (first != np.arange(len(first)))
    repeated = np.flatnonzero(has_captions & ~has_new & fits)
    findings.add_all("repeated_row", len(repeated), (_repeated_row(rows, row) for row in repeated.tolist()))

    person_of = persons[first][caption_rows]
    earlier = first_with_same(columns.caption_keys)
    known = person_of != NOT_READ
    shared = np.flatnonzero(known & known[earlier] & (person_of != person_of[earlier]))
    once = shared[np.sort(np.unique(earlier[shared], return_index=True)[1])]
    pairs = zip(caption_rows[once].tolist(), caption_rows[earlier[once]].tolist(), strict=True)
    # Two rows that share several captions are one example.
    examples = (_shared_caption(rows, *pair) for pair, _ in groupby(pairs))
    findings.add_all("repeated_caption", len(once), examples)


def _image_of_two(rows: ImageRows, row: int) -> Example:
    first = int(rows.first[row])
    image = rows.columns.image_ids([row])[0]
    text = f"{image}: person {rows.persons[row]} here, {rows.persons[first]} in {rows.row_name(first)}"
    return rows.example(row, text)


def _person_in_two(rows: ImageRows, row: int, earlier: int) -> Example:
    here, there = (SPLITS[rows.columns.splits[number]] for number in (row, earlier))
    return rows.example(row, f"person {rows.persons[row]}: {here} here, {there} in {rows.row_name(earlier)}")


def _repeated_row(rows: ImageRows, row: int) -> Example:
    image = rows.columns.image_ids([row])[0]
    return rows.example(row, f"{image}, as in {rows.row_name(int(rows.first[row]))}")


def _shared_caption(rows: ImageRows, row: int, earlier: int) -> Example:
    text = f"the caption of person {rows.persons[earlier]} in {rows.row_name(earlier)}, here of {rows.persons[row]}"
    return rows.example(row, text)
