"""One row of an annotation file, every field checked as it is read.

An error names the file, the row (counted from 0, as in `json.load(file)[row]`), the field, the value, the rule and the
remedy: a wrong row has to be found among tens of thousands.
"""

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

__all__ = ["AnnotationError", "AnnotationRow", "is_spoilt_number", "names_a_person", "stands_for_nothing"]

_LARGEST_INT64 = 2**63 - 1
# Paths as nearly all are, which need no second look: looking at a million paths part by part takes half a minute.
_PLAIN_PATH = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*", re.ASCII)
# What programs write where there is nothing, whatever signs are around it: #N/A, <NA>, (null), -nan, None.
_NOTHING = frozenset(
    "n,nan,na,n a,n a n a,nan ind,none,null,nil,nat,pd na,undefined,inf,infinity,missing,unknown,not available,"
    "1 ind,1 qnan,1 inf".split(",")
)
_WORD = re.compile(r"\w+")
_ONE_LETTER = re.compile(r"\w")
_FORMULA_ERROR = re.compile(r"#[\w/]+[!?]|#NV")  # of a spreadsheet in any language: #REF!, #WERT!, #NAME?
# 202301010001 in a spreadsheet is 2.02E+11, and 1 with a gap in its column 1.0 in pandas: many persons become one.
_SPOILT_NUMBER = re.compile(
    r"[+\-\u2212\u2013]\s*\d+|[+-]?(\d+[.,]\d*|[.,]\d+)(\s*e[+-]?\d+)?|[+-]?\d+e[+-]\d+", re.IGNORECASE
)


def stands_for_nothing(text: str) -> bool:
    """Says whether a text is what a program writes for a missing value: nan, None, NULL, N/A, ?, - ..."""
    text = text.strip()
    words = " ".join(_WORD.findall(text)).lower()
    nothing = words in _NOTHING and not _ONE_LETTER.fullmatch(text)
    return not words or nothing or _FORMULA_ERROR.fullmatch(text) is not None


def is_spoilt_number(text: str) -> bool:
    """Says whether a text is what a spreadsheet makes of a number: a fraction, an exponent, a sign."""
    return _SPOILT_NUMBER.fullmatch(text.strip()) is not None


def names_a_person(text: str) -> bool:
    """Says whether a text can be somebody's id: no missing value, and no number that lost digits or has a sign."""
    return not stands_for_nothing(text) and not is_spoilt_number(text)


class AnnotationError(ValueError):
    """Something wrong in an annotation file.

    Attributes:
        kind: its name in `dataset_scripts.annotations.problems.PROBLEMS`.
        file: the annotation file.
        row: position in the file, counted from 0; None where the file as a whole is wrong.
    """

    def __init__(self, kind: str, file: Path, row: int | None, message: str) -> None:
        where = f"{file}" if row is None else f"{file}, row {row}"
        super().__init__(f"{where}: {message}")
        self.kind = kind
        self.file = file
        self.row = row


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """One raw object of an annotation file, and the checked ways to read its fields.

    Attributes:
        file: the annotation file, for the messages.
        index: position in the file, counted from 0.
        fields: the object. Fields that nobody asks for are ignored.
        number: position in the whole set, where that has several files; counted from 0.
    """

    file: Path
    index: int
    fields: Mapping[str, object]
    number: int

    def error(self, kind: str, field: str, rule: str) -> AnnotationError:
        """Makes (does not raise) the error that names this row, `field` and its value before `rule`."""
        value = reprlib.repr(self.fields[field])
        return AnnotationError(kind, self.file, self.index, f"{field!r} is {value}, but {rule}")

    def value(self, field: str, hint: str = "") -> object:
        """Returns the raw value of `field`. Raises AnnotationError, ending in `hint`, where the row lacks it."""
        if field not in self.fields:
            found = ", ".join(map(str, self.fields)) or "none"
            message = f"the field {field!r} is missing (fields here: {found}). {hint or 'Add it, or remove the row.'}"
            raise AnnotationError("missing_field", self.file, self.index, message)
        return self.fields[field]

    def choice(self, field: str, meanings: Mapping[str, str], hint: str = "") -> str:
        """Returns what the value of `field` stands for in `meanings`. Raises AnnotationError for one not in it."""
        value = self.value(field, hint)
        if not isinstance(value, str) or value not in meanings:
            rule = f"it must be one of {', '.join(meanings)}. Correct the row."
            raise self.error("unknown_split", field, rule)
        return meanings[value]

    def person_id(self, field: str) -> int:
        """Returns a person id: a whole number that fits int64, 0 or greater. Raises AnnotationError for another."""
        value = self.value(field)
        # bool is an int for Python; a true in the file is a slip, not the person 1.
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_INT64:
            rule = (
                "a person id is a whole number, 0 or greater. Write it in full, without quotes, sign, fraction or "
                "exponent; remove rows of nobody."
            )
            raise self.error("bad_person_id", field, rule)
        return value

    def captions(self, field: str) -> tuple[str, ...]:
        """Returns a list of sentences: at least one, each with a letter or digit. Raises AnnotationError otherwise."""
        value = self.value(field)
        if not isinstance(value, list) or not value:
            rule = "it must be a list of at least one caption. Add a caption, or remove the row."
            raise self.error("no_caption" if value in ([], None) else "bad_field", field, rule)
        for caption in value:
            self._check_caption(field, caption)
        return tuple(value)

    def caption(self, field: str) -> str:
        """Returns a sentence with a letter or digit in it. Raises AnnotationError for anything else."""
        value = self.value(field)
        self._check_caption(field, value)
        return value

    def text(self, field: str) -> str | None:
        """Returns a text without the space around it; None where the row lacks it, has null, or nothing in it.

        Raises AnnotationError for anything that is no text.
        """
        value = self.fields.get(field)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.error("bad_field", field, "it must be a text. Put it in quotes.")
        self._check_encodable(field, value)
        return value.strip() or None

    def image_path(self, field: str) -> str:
        """Returns a path inside the image folder, normalised (`a//./b.jpg` becomes `a/b.jpg`), with forward slashes.

        Raises AnnotationError for a text that is no such path: empty, absolute (in the manner of any system), with
        `..`, with backslashes, or with characters that no file name has. Links are seen later, on the files.
        """
        value = self.value(field)
        if isinstance(value, str) and _PLAIN_PATH.fullmatch(value):
            return value
        rule = "an image path is relative to the image folder, stays inside it and uses '/'. Correct the row."
        if not isinstance(value, str) or "\0" in value:
            raise self.error("bad_field", field, rule)
        self._check_encodable(field, value)
        path = PurePosixPath(value)
        if not path.name:
            raise self.error("bad_field", field, rule)
        if "\\" in value or path.is_absolute() or PureWindowsPath(str(path)).drive or ".." in path.parts:
            raise self.error("bad_path", field, rule)
        return path.as_posix()

    def _check_caption(self, field: str, caption: object) -> None:
        """Refuses what is no text, has no letter or digit, or is a missing value or a number out of a spreadsheet."""
        if isinstance(caption, str):
            self._check_encodable(field, caption)
        if not isinstance(caption, str) or stands_for_nothing(caption) or is_spoilt_number(caption):
            shown = reprlib.repr(caption)
            rule = f"a caption is a text with a letter or digit, no nan, None or 1.0, and {shown} is not. Remove it."
            raise self.error(
                "empty_caption" if caption is None or isinstance(caption, str) else "bad_field", field, rule
            )

    def _check_encodable(self, field: str, text: str) -> None:
        """Refuses text with half a surrogate pair, which JSON can write and no tokenizer, file or table can store."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            rule = "it is not valid Unicode text. Save the file as UTF-8 and mend it."
            raise self.error("bad_text", field, rule) from error
