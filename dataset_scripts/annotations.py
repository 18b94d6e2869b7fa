"""Reading an annotation file: a JSON list with one object for each image, every field checked as it is read.

An error names the file, the row (counted from 0, as in `json.load(file)[row]`), the field, the value, the rule and the
remedy: a wrong row has to be found among tens of thousands.
"""

import json
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

__all__ = ["AnnotationRow", "PersonSearchRecord", "check_identities", "read_rows"]

_LARGEST_INT64 = 2**63 - 1


@dataclass(frozen=True)
class PersonSearchRecord:
    """One image of a person-search set, its fields checked.

    Attributes:
        row: position in the annotation file, counted from 0.
        split: `train`, `validation` or `test`.
        image_id: path of the image relative to the image folder, with forward slashes, never leaving the folder.
        person_id: identity as the file gives it, 0 or greater.
        captions: the sentences as the file gives them, at least one, none empty.
        camera: name of the camera, or None where the set does not tell.
    """

    row: int
    split: str
    image_id: str
    person_id: int
    captions: tuple[str, ...]
    camera: str | None


@dataclass(frozen=True)
class AnnotationRow:
    """One raw object of an annotation file, and the checked ways to read its fields.

    Attributes:
        file: the annotation file, for the messages.
        index: position in the file, counted from 0.
        fields: the JSON object. Fields that nobody asks for are ignored.
    """

    file: Path
    index: int
    fields: Mapping[str, object]

    def error(self, field: str, rule: str) -> ValueError:
        """Makes (does not raise) the error that names this row, `field` and its value before `rule`."""
        value = reprlib.repr(self.fields[field])
        return ValueError(f"{self.file}, row {self.index}: {field!r} is {value}, but {rule}")

    def value(self, field: str, hint: str = "") -> object:
        """Returns the raw value of `field`. Raises ValueError, ending in `hint`, where the row has no such field."""
        if field not in self.fields:
            found = ", ".join(self.fields) or "none"
            raise ValueError(
                f"{self.file}, row {self.index}: the field {field!r} is missing (fields here: {found}). "
                f"{hint or 'Add it, or remove the row.'}"
            )
        return self.fields[field]

    def choice(self, field: str, meanings: Mapping[str, str], hint: str = "") -> str:
        """Returns what the value of `field` stands for in `meanings`. Raises ValueError for a value not in it."""
        value = self.value(field, hint)
        if not isinstance(value, str) or value not in meanings:
            raise self.error(field, f"it must be one of {', '.join(meanings)}. Correct the row.")
        return meanings[value]

    def person_id(self, field: str) -> int:
        """Returns a person id: a JSON whole number that fits int64, 0 or greater. Raises ValueError for another."""
        value = self.value(field)
        # bool is an int for Python; a true in the file is a slip, not the person 1.
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_INT64:
            raise self.error(
                field, "a person id is a whole number, 0 or greater. Write it without quotes, sign or fraction."
            )
        return value

    def captions(self, field: str) -> tuple[str, ...]:
        """Returns a list of sentences: at least one, each with visible characters. Raises ValueError otherwise."""
        value = self.value(field)
        if not isinstance(value, list) or not value:
            raise self.error(field, "it must be a list of at least one caption. Add a caption, or remove the row.")
        for caption in value:
            if not isinstance(caption, str) or not caption.strip():
                raise self.error(
                    field, f"a caption is a text that is not empty, and {reprlib.repr(caption)} is not. Remove it."
                )
            self._check_encodable(field, caption)
        return tuple(value)

    def image_path(self, field: str) -> str:
        """Returns a path inside the image folder, normalised (`a//./b.jpg` becomes `a/b.jpg`), with forward slashes.

        Raises ValueError for a text that is no such path: empty, absolute (in the manner of any system), with `..`,
        with backslashes, or with characters that no file name has. Links are seen later, on the files themselves.
        """
        value = self.value(field)
        rule = "an image path is relative to the image folder, stays inside it and uses '/'."
        if not isinstance(value, str) or "\\" in value or "\0" in value:
            raise self.error(field, f"{rule} Correct the row.")
        self._check_encodable(field, value)
        path = PurePosixPath(value)
        if not path.name or path.is_absolute() or PureWindowsPath(str(path)).drive or ".." in path.parts:
            raise self.error(field, f"{rule} Correct the row.")
        return path.as_posix()

    def _check_encodable(self, field: str, text: str) -> None:
        """Refuses text with half a surrogate pair, which JSON can write and no tokenizer, file or table can store."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self.error(field, "it is not valid Unicode text. Save the file as UTF-8 and mend it.") from error


def read_rows(file: Path) -> list[AnnotationRow]:
    """Reads an annotation file: JSON, UTF-8, a list of at least one object.

    Raises ValueError for anything else, and OSError where the file cannot be read.
    """
    try:
        # utf-8-sig takes the byte-order mark that some editors write, and plain UTF-8 as well.
        rows = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON in UTF-8 ({error}). Restore the file from its source.") from error
    if not isinstance(rows, list) or not rows:
        raise ValueError(
            f"{file} holds {reprlib.repr(rows)}, but must be a JSON list with one object for each image. "
            "Restore the file from its source."
        )
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(
                f"{file}, row {index}: {reprlib.repr(row)} is not an object with the fields of one image. Remove it."
            )
    return [AnnotationRow(file, index, row) for index, row in enumerate(rows)]


def check_identities(file: Path, records: Sequence[PersonSearchRecord]) -> None:
    """Refuses a person who is in two splits: the test would be on people seen in training.

    Raises ValueError that counts those people and names the first, with a row of each split.
    """
    first: dict[int, PersonSearchRecord] = {}
    shared: dict[int, PersonSearchRecord] = {}
    for record in records:
        if first.setdefault(record.person_id, record).split != record.split:
            shared.setdefault(record.person_id, record)
    if shared:
        person_id, other = next(iter(shared.items()))
        raise ValueError(
            f"{file}: {len(shared)} person id(s) are in more than one split, but splits share no person. "
            f"The first is {person_id}: {first[person_id].split} in row {first[person_id].row}, "
            f"{other.split} in row {other.row}. Give each person one split."
        )
