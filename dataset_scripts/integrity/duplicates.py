"""Repeated pictures in a set: equal bytes, or equal content."""

from collections.abc import Iterator

import numpy as np

from dataset_scripts.integrity.findings import Example, Findings
from dataset_scripts.integrity.image_checks import SeenImages
from dataset_scripts.integrity.image_rows import ImageRows, first_with_same
from dataset_scripts.integrity.row_columns import NOT_READ, SPLITS
from dataset_scripts.leaks.near_duplicates import same_pictures

__all__ = ["check_duplicates"]


def check_duplicates(rows: ImageRows, seen: SeenImages, findings: Findings) -> None:
    """Report repeated images by their bytes and, if decoded, by their content.

    Each image counts once: as `picture_in_two_splits` if one copy is in training and one is not, otherwise as
    `copied_image_of_two_persons`, `copied_image`, `similar_frames` (of one person) or `similar_image`.
    """
    positions = np.arange(len(seen.rows))
    first = first_with_same(seen.digests)
    copies = np.flatnonzero(first != positions)
    _report(rows, seen.rows[copies], seen.rows[first[copies]], True, findings)
    if seen.prints is not None:
        originals = np.flatnonzero(first == positions)
        pairs = same_pictures(seen.prints.select(originals))
        _report(rows, seen.rows[originals[pairs.right]], seen.rows[originals[pairs.left]], False, findings)


def _report(rows: ImageRows, others: np.ndarray, firsts: np.ndarray, same_bytes: bool, findings: Findings) -> None:
    splits, persons = rows.columns.splits, rows.persons
    training = SPLITS.index("train")
    known = (splits[others] != NOT_READ) & (splits[firsts] != NOT_READ)
    crossing = known & ((splits[others] == training) != (splits[firsts] == training))
    known = (persons[others] != NOT_READ) & (persons[firsts] != NOT_READ)
    two_persons = known & (persons[others] != persons[firsts]) & (same_bytes and not rows.own_person)
    kinds = np.select(
        [crossing, two_persons, np.full(len(others), same_bytes), known & (persons[others] == persons[firsts])],
        ["picture_in_two_splits", "copied_image_of_two_persons", "copied_image", "similar_frames"],
        "similar_image",
    )
    for kind in np.unique(kinds).tolist():
        chosen = kinds == kind
        if kind == "similar_frames":
            _report_frames(rows, others[chosen], firsts[chosen], findings)
            continue
        findings.add_all(kind, int(chosen.sum()), _examples(rows, others[chosen], firsts[chosen]))


def _report_frames(rows: ImageRows, others: np.ndarray, firsts: np.ndarray, findings: Findings) -> None:
    """Report one case a person."""
    persons, places, counts = np.unique(rows.persons[others], return_index=True, return_counts=True)
    cases = zip(persons.tolist(), others[places].tolist(), firsts[places].tolist(), counts.tolist(), strict=True)
    findings.add_all("similar_frames", len(persons), (_frames_of(rows, *case) for case in cases))


def _frames_of(rows: ImageRows, person: int, other: int, first: int, count: int) -> Example:
    like = " like ".join(rows.columns.image_ids([other, first]))
    return rows.example(other, f"person {person}: {count:,} more, first {like}")


def _examples(rows: ImageRows, others: np.ndarray, firsts: np.ndarray) -> Iterator[Example]:
    for other, first in zip(others.tolist(), firsts.tolist(), strict=True):
        yield rows.example(other, f"{rows.describe(other)} is {rows.describe(first)} of {rows.row_name(first)}")
