"""One annotation row, each field checked when it is read."""

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

__all__ = ["AnnotationError", "AnnotationRow", "is_spoilt_number", "names_a_person", "stands_for_nothing"]

_LARGEST_INT64 = 2**63 - 1
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring, _SHORT.maxother = 2, 2, 2, 40, 40
# Nearly all paths are this plain and need no parsing, which takes half a minute for a million paths.
_PLAIN_PATH = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*", re.ASCII)
# What programs write for a missing value, whatever signs surround it: #N/A, <NA>, (null), -nan, None.
_NOTHING = frozenset(
    "n,nan,na,n a,n a n a,nan ind,none,null,nil,nat,pd na,undefined,inf,infinity,missing,unknown,not available,"
    "1 ind,1 qnan,1 inf".split(",")
)
_WORD = re.compile(r"\w+")
_LIST = re.compile(r"""\[\s*(['"]).*\1\s*,?\s*\]|\(\s*(['"]).*\2\s*,?\s*\)""", re.DOTALL)  # of JSON or Python, as text
_ONE_LETTER = re.compile(r"\w")
_FORMULA_ERROR = re.compile(r"#[\w/]+[!?]|#NV")  # of a spreadsheet in any language: #REF!, #WERT!, #NAME?
# A spreadsheet turns 202301010001 into 2.02E+11, and pandas writes 1.0 if the column has gaps: persons are merged.
_SPOILT_NUMBER = re.compile(
    r"[+\-\u2212\u2013]\s*\d+|[+-]?(\d+[.,]\d*|[.,]\d+)(\s*e[+-]?\d+)?|[+-]?\d+e[+-]\d+", re.IGNORECASE
)


def stands_for_nothing(text: str) -> bool:
    """Whether a text marks a missing value: nan, NULL, N/A, ?, -"""
    text = text.strip()
    words = " ".join(_WORD.findall(text)).lower()
    nothing = words in _NOTHING and not _ONE_LETTER.fullmatch(text)
    return not words or nothing or _FORMULA_ERROR.fullmatch(text) is not None


def is_spoilt_number(text: str) -> bool:
    """Whether a text is a number with fraction, exponent or sign."""
    return _SPOILT_NUMBER.fullmatch(text.strip()) is not None


def names_a_person(text: str) -> bool:
    """Whether a text can be an id: neither missing nor spoilt."""
    return not stands_for_nothing(text) and not is_spoilt_number(text)


class AnnotationError(ValueError):
    """An error in an annotation file.

    Attributes:
        kind: key in `dataset_scripts.annotations.problems.PROBLEMS`.
        file: the annotation file.
        row: position in the file, counted from 0; None if the whole file is wrong.
    """

    def __init__(self, kind: str, file: Path, row: int | None, message: str) -> None:
        where = f"{file}" if row is None else f"{file}, row {row}"
        super().__init__(f"{where}: {message}")
        self.kind = kind
        self.file = file
        self.row = row


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """One raw annotation object with checked access to its fields.

    All readers raise AnnotationError, which names the file, the row (as in `json.load(file)[row]`), the field, the
    value, the rule and the remedy.
    """

    file: Path  # file, index: the annotation file and the position in it, counted from 0
    index: int
    fields: Mapping[str, object]  # the object; fields that are never read are ignored
    number: int  # position in the whole set, which may have several files

    def error(self, kind: str, field: str, rule: str) -> AnnotationError:
        """Build the error that names row, `field`, value and `rule`."""
        value = _SHORT.repr(self.fields[field])
        return AnnotationError(kind, self.file, self.index, f"{field!r} is {value}, but {rule}")

    def value(self, field: str, hint: str = "") -> object:
        """Return the raw value of `field`; `hint` ends a missing field's error."""
        if field not in self.fields:
            found = ", ".join(map(str, self.fields)) or "none"
            message = f"the field {field!r} is missing (fields here: {found}). {hint or 'Add it, or remove the row.'}"
            raise AnnotationError("missing_field", self.file, self.index, message)
        return self.fields[field]

    def choice(self, field: str, meanings: Mapping[str, str], hint: str = "") -> str:
        """Return what the value of `field` stands for in `meanings`."""
        value = self.value(field, hint)
        if not isinstance(value, str) or value not in meanings:
            rule = f"it must be one of {', '.join(meanings)}. Correct the row."
            raise self.error("unknown_split", field, rule)
        return meanings[value]

    def person_id(self, field: str) -> int:
        """Return a whole number, 0 or greater, that fits int64."""
        value = self.value(field)
        # bool is an int in Python, but a true in the file is a mistake and not person 1.
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_INT64:
            return value
        rule = (
            "a person id is a whole number, 0 or greater. Write it in full, without quotes, sign, fraction or "
            "exponent; remove rows without a person."
        )
        number = int(value[:30]) if isinstance(value, str) and value.isdecimal() else value
        if isinstance(number, int) and number > _LARGEST_INT64:
            rule = (
                f"a person id is a whole number up to {_LARGEST_INT64} (int64). Number the persons: "
                "ids, _ = pandas.factorize(ids)."
            )
        raise self.error("bad_person_id", field, rule)

    def captions(self, field: str) -> tuple[str, ...]:
        """Return one or more captions, each with a letter or digit."""
        value = self.value(field)
        if isinstance(value, str):
            rule = "it must be a list. A CSV file has one caption a row, in a column 'caption'."
            raise self.error("bad_field", field, rule)
        if not isinstance(value, list) or not value:
            rule = "it must be a list of at least one caption. Add a caption, or remove the row."
            raise self.error("no_caption" if value in ([], None) else "bad_field", field, rule)
        for caption in value:
            self._check_caption(field, caption)
        return tuple(value)

    def caption(self, field: str) -> str:
        """Return a caption with a letter or digit."""
        value = self.value(field)
        if isinstance(value, str) and _LIST.fullmatch(value.strip()):
            rule = "it must be one sentence. Write one caption a row, or JSON lines with a list in 'captions'."
            raise self.error("bad_field", field, rule)
        self._check_caption(field, value)
        return value

    def text(self, field: str) -> str | None:
        """Return a stripped text; None if missing, null or blank."""
        value = self.fields.get(field)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.error("bad_field", field, "it must be text. Put it in quotes.")
        self._check_encodable(field, value)
        return value.strip() or None

    def image_path(self, field: str) -> str:
        """Return a normalised path inside the image folder (`a//./b.jpg` becomes `a/b.jpg`).

        Refused: empty or absolute paths (by any system's rules), `..`, backslashes, characters that no file name has.
        Links are checked later, on the files.
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
        if not path.is_absolute() and ".." not in path.parts and re.match("[a-zA-Z]:[^\\\\]", value):
            rule = "a colon after one letter (':') names a drive on Windows. Rename the file, and the path."
            raise self.error("bad_path", field, rule)
        if "\\" in value or path.is_absolute() or PureWindowsPath(str(path)).drive or ".." in path.parts:
            raise self.error("bad_path", field, rule)
        return path.as_posix()

    def _check_caption(self, field: str, caption: object) -> None:
        if isinstance(caption, str):
            self._check_encodable(field, caption)
        if not isinstance(caption, str) or stands_for_nothing(caption) or is_spoilt_number(caption):
            shown = _SHORT.repr(caption)
            rule = f"a caption is text with a letter or digit, not nan, None or 1.0; {shown} is not one. Remove it."
            raise self.error(
                "empty_caption" if caption is None or isinstance(caption, str) else "bad_field", field, rule
            )

    def _check_encodable(self, field: str, text: str) -> None:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            rule = "it is not valid Unicode. Save the file as UTF-8 and fix the text."
            raise self.error("bad_text", field, rule) from error
