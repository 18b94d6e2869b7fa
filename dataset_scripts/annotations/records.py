"""Merge rows into one record per image, and check persons across splits."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from dataset_scripts.annotations.rows import AnnotationError

__all__ = ["PersonSearchRecord", "check_identities", "merge_rows"]


@dataclass(frozen=True, slots=True)
class PersonSearchRecord:
    """One image of a person-search set, its fields checked."""

    file: Path  # file, row: the annotation file and the position in it, counted from 0
    row: int
    split: str | None  # `train`, `validation` or `test`; None if the set has no splits
    image_id: str  # path relative to the image folder, with `/`, never leaving it
    person_id: int  # 0 or greater
    captions: tuple[str, ...]  # one or more, none empty
    camera: str | None  # name of the camera; None if unknown
    person_name: str = ""  # the person's name in the file, if that is not the number `person_id`

    @property
    def name(self) -> str:
        """The name that splits are drawn by; independent of other rows."""
        return self.person_name or str(self.person_id)


def merge_rows(records: Iterable[PersonSearchRecord], identity_per_image: bool = False) -> list[PersonSearchRecord]:
    """Merge rows of the same image into one record, keeping first positions.

    A later row adds only captions that the image does not have yet.

    Args:
        records: one per row.
        identity_per_image: each image counts as its own person: the first row's id is kept.

    Raises AnnotationError: an image has two persons or two splits.
    """
    merged: list[PersonSearchRecord] = []
    place_of: dict[str, int] = {}
    for record in records:
        place = place_of.setdefault(record.image_id, len(merged))
        if place == len(merged):
            merged.append(record)
            continue
        first = merged[place]
        if record.person_id != first.person_id and not identity_per_image:
            message = (
                f"image {record.image_id} shows person {record.person_id} here, but person {first.person_id} in "
                f"row {first.row} of {first.file.name}. Keep the right row."
            )
            raise AnnotationError("image_of_two_persons", record.file, record.row, message)
        if record.split != first.split:
            message = (
                f"image {record.image_id} is in the split {record.split} here, but in {first.split} in row "
                f"{first.row} of {first.file.name}. Keep the right row."
            )
            raise AnnotationError("person_in_two_splits", record.file, record.row, message)
        new = tuple(caption for caption in dict.fromkeys(record.captions) if caption not in first.captions)
        merged[place] = replace(first, captions=first.captions + new)
    return merged


def check_identities(records: Iterable[PersonSearchRecord]) -> None:
    """Raise AnnotationError if a person is in more than one split."""
    first: dict[int, PersonSearchRecord] = {}
    shared: dict[int, PersonSearchRecord] = {}
    for record in records:
        if first.setdefault(record.person_id, record).split != record.split:
            shared.setdefault(record.person_id, record)
    if shared:
        person_id, other = next(iter(shared.items()))
        message = (
            f"{len(shared)} person id(s) are in more than one split; a person belongs to one split. "
            f"The first is {person_id}: {first[person_id].split} in row {first[person_id].row}, "
            f"{other.split} in row {other.row}. Give each person one split."
        )
        raise AnnotationError("person_in_two_splits", other.file, None, message)
