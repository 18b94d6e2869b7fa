"""Counts of persons, images and captions, compared with the published ones."""

from collections.abc import Mapping

import numpy as np

from dataset_scripts.annotations.splitting import check_enough_persons
from dataset_scripts.formats.base import AnnotationFormat, SplitCounts
from dataset_scripts.integrity.findings import Example, Findings
from dataset_scripts.integrity.image_rows import ImageRows
from dataset_scripts.integrity.row_columns import NOT_READ, SPLITS

__all__ = ["check_counts", "check_drawing", "check_person_ids", "count_splits", "person_id_range", "total_counts"]


def count_splits(rows: ImageRows, new: np.ndarray) -> dict[str, SplitCounts]:
    """Count each split with images; `new` marks captions that count (`new_captions`)."""
    counts = {}
    image_splits = rows.columns.splits[rows.images]
    caption_splits = rows.columns.splits[rows.first[rows.columns.caption_rows[new]]]
    for code, split in enumerate(SPLITS):
        images = rows.images[image_splits == code]
        if len(images):
            persons = rows.persons[images]
            captions = int(np.count_nonzero(caption_splits == code))
            counts[split] = SplitCounts(len(np.unique(persons[persons != NOT_READ])), len(images), captions)
    return counts


def total_counts(splits: Mapping[str, SplitCounts]) -> SplitCounts:
    """Add up splits, which share no person."""
    return SplitCounts(*(sum(column) for column in zip(*splits.values(), strict=True)) if splits else (0, 0, 0))


def check_counts(found: Mapping[str, SplitCounts], layout: AnnotationFormat, drawn: bool, findings: Findings) -> None:
    """Report splits without images, and counts that differ from the published ones.

    Args:
        found: counts of the splits that have images.
        layout: the format.
        drawn: splits are drawn on loading, so none is missing.
        findings: receives the problems.
    """
    has_splits = layout.split_field is not None and not drawn
    for split in layout.published or (SPLITS if has_splits and not layout.published_total else ()):
        if split not in found:
            findings.add("missing_split", split)
    pairs = [(split, found[split], right) for split, right in layout.published.items() if split in found]
    if layout.published_total:
        pairs.append(("all splits", total_counts(found), layout.published_total))
    for name, here, right in pairs:
        for what, count, published in zip(SplitCounts._fields, here, right, strict=True):
            if published is not None and count != published:
                findings.add("other_counts", f"{name}: {count:,} {what}, published {published:,}")


def check_person_ids(rows: ImageRows, layout: AnnotationFormat, findings: Findings) -> None:
    """Report gaps in person ids, and a smallest id unlike the published one."""
    span = person_id_range(rows)
    if span is None or layout.identity_per_image:
        return
    smallest, largest = span
    ids = np.unique(rows.persons[rows.persons != NOT_READ])
    before_gap = np.flatnonzero(np.diff(ids) > 1)
    examples = (Example(_gap(int(ids[place]) + 1, int(ids[place + 1]) - 1)) for place in before_gap)
    findings.add_all("person_id_gap", largest - smallest + 1 - len(ids), examples)
    if layout.first_person_id not in (None, smallest):
        findings.add("person_id_base", f"the smallest is {smallest}, published {layout.first_person_id}")


def person_id_range(rows: ImageRows) -> tuple[int, int] | None:
    """Return the smallest and largest person id; None if none could be read."""
    known = rows.persons[rows.persons != NOT_READ]
    return (int(known.min()), int(known.max())) if len(known) else None


def check_drawing(shares: tuple[float, float], found: Mapping[str, SplitCounts], findings: Findings) -> None:
    """Report sets with too few persons to draw splits from."""
    try:
        check_enough_persons(found["train"].persons if "train" in found else 0, *shares)
    except ValueError as error:
        findings.add("too_few_persons", str(error))


def _gap(first: int, last: int) -> str:
    return f"no {first}" if first == last else f"none from {first} to {last}"
