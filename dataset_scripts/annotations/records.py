"""From checked rows to one record an image: merging the rows of an image, and the rules that rows obey together."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from dataset_scripts.annotations.rows import AnnotationError

__all__ = ["PersonSearchRecord", "check_identities", "merge_rows"]


@dataclass(frozen=True, slots=True)
class PersonSearchRecord:
    """One image of a person-search set, its fields checked.

    Attributes:
        file: the annotation file.
        row: position in that file, counted from 0.
        split: `train`, `validation` or `test`; None where the set has no splits of its own.
        image_id: path of the image relative to the image folder, with forward slashes, never leaving the folder.
        person_id: identity as the file gives it, 0 or greater.
        captions: the sentences, at least one, none empty.
        camera: name of the camera, or None where the set does not tell.
        own_name: what the person is called in the file, where that is not the number `person_id`.
    """

    file: Path
    row: int
    split: str | None
    image_id: str
    person_id: int
    captions: tuple[str, ...]
    camera: str | None
    own_name: str = ""

    @property
    def name(self) -> str:
        """What the person is called, whoever else is in the set: splits are drawn by it."""
        return self.own_name or str(self.person_id)


def merge_rows(records: Iterable[PersonSearchRecord], identity_per_image: bool = False) -> list[PersonSearchRecord]:
    """Puts the captions of rows that name the same image into one record, at the place of the first of them.

    Captions that the image has already are not added again; a row's own captions stay as they are, repeated or not.

    Args:
        records: one for each row.
        identity_per_image: the set counts each image as a person of its own: the first row's id is the image's.

    Raises:
        AnnotationError: an image is given to two persons, or to two splits.
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
                f"image {record.image_id} is of person {record.person_id} here, and of person {first.person_id} in "
                f"row {first.row} of {first.file.name}. Keep the right row."
            )
            raise AnnotationError("image_of_two_persons", record.file, record.row, message)
        if record.split != first.split:
            message = (
                f"image {record.image_id} is in the split {record.split} here, and in {first.split} in row "
                f"{first.row} of {first.file.name}. Keep the right row."
            )
            raise AnnotationError("person_in_two_splits", record.file, record.row, message)
        new = tuple(caption for caption in dict.fromkeys(record.captions) if caption not in first.captions)
        merged[place] = replace(first, captions=first.captions + new)
    return merged


def check_identities(records: Iterable[PersonSearchRecord]) -> None:
    """Refuses a person who is in two splits: the test would be on people seen in training.

    Raises AnnotationError that counts those people and names the first, with a row of each split.
    """
    first: dict[int, PersonSearchRecord] = {}
    shared: dict[int, PersonSearchRecord] = {}
    for record in records:
        if first.setdefault(record.person_id, record).split != record.split:
            shared.setdefault(record.person_id, record)
    if shared:
        person_id, other = next(iter(shared.items()))
        message = (
            f"{len(shared)} person id(s) are in more than one split, but splits share no person. "
            f"The first is {person_id}: {first[person_id].split} in row {first[person_id].row}, "
            f"{other.split} in row {other.row}. Give each person one split."
        )
        raise AnnotationError("person_in_two_splits", other.file, None, message)
