"""Streaming readers of annotation files: JSON lists and objects, JSON lines, CSV.

One row is in memory at a time: a list of a million rows would take gigabytes as Python objects. A damaged file raises
`AnnotationError` (kind `not_json` or `encoding`); a damaged row raises only when it is accessed, so reading can go on.
"""

import csv
import json
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn, TextIO

from dataset_scripts.annotations.rows import AnnotationError

__all__ = ["BrokenRow", "read_csv", "read_json_lines", "read_json_list", "read_json_object"]

CHUNK = 1 << 20  # characters read at a time
# A longer row means unclosed quotes or brackets; reading on would use up the memory.
LONGEST_VALUE = 16 << 20
# Characters after a number that may still belong to it, as in "1" + "e+" + "5".
_NUMBER_TAIL = 2
_RESTORE = "Restore the file from its source."
_DOUBLE = 'Write quotation marks within quotes double (""), not after a backslash.'
_SEPARATORS = ",;\t"
_SEPARATOR = re.compile(r"""\ufeff?"?sep=([^\r\n"])"?[,;\t]*\r?\n?""", re.IGNORECASE)  # of Excel
_PACKED = {
    b"\x1f\x8b": "packed by gzip. Unpack it: gunzip FILE",
    b"PK\x03\x04": "a ZIP archive, or a spreadsheet. Unpack it, or save the sheet as CSV in UTF-8.",
    b"BZh": "packed by bzip2. Unpack it: bunzip2 FILE",
    b"\xfd7zXZ": "packed by xz. Unpack it: unxz FILE",
    b"\x28\xb5\x2f\xfd": "packed by zstd. Unpack it: unzstd FILE",
    b"PAR1": "Parquet. Name it train.parquet, and pass its folder.",
}


class BrokenRow(Mapping[str, object]):
    """A row without fields: any access raises its `bad_row` error."""

    def __init__(self, file: Path, index: int, message: str) -> None:
        self._error = AnnotationError("bad_row", file, index, message)

    def __getitem__(self, key: str) -> NoReturn:
        raise self._error

    def __contains__(self, key: object) -> NoReturn:
        raise self._error

    def __iter__(self) -> NoReturn:
        raise self._error

    def __len__(self) -> NoReturn:
        raise self._error


def read_json_list(file: Path) -> Iterator[Mapping[str, object]]:
    """Yield the objects of a UTF-8 file with one JSON list.

    A list item that is not an object becomes a `BrokenRow`. Raises AnnotationError for anything else, an empty list
    included, and OSError for an unreadable file.
    """
    for index, value in enumerate(_items(file, "[", "a JSON list with one object for each image")):
        yield _as_object(file, index, value)


def read_json_object(file: Path) -> Iterator[tuple[str, object]]:
    """Yield the pairs of a JSON object such as `{"a.jpg": "A man ..."}`.

    Raises AnnotationError for anything else, an empty object included, and OSError for an unreadable file.
    """
    yield from _items(file, "{", "a JSON object with one entry for each image")


def read_json_lines(file: Path) -> Iterator[Mapping[str, object]]:
    """Yield the objects of a file with one JSON object per line.

    Blank lines are skipped; any other line becomes a `BrokenRow`. Raises AnnotationError if there is no row or the
    text is not UTF-8, OSError for an unreadable file.
    """
    index = 0
    with _opened(file) as stream:
        for number, line in enumerate(iter(partial(stream.readline, LONGEST_VALUE), ""), start=1):
            if not line.strip():
                continue
            if not index and line.lstrip().startswith("["):
                message = "it is a JSON list. Write one JSON object a line, for example by: jq -c '.[]' FILE"
                raise AnnotationError("not_json", file, None, message)
            try:
                yield _as_object(file, index, json.loads(line))
            except (ValueError, RecursionError) as error:
                remedy = _lines_remedy(line.strip())
                yield BrokenRow(file, index, f"line {number} is not a complete JSON object ({error}). {remedy}")
            index += 1
    if not index:
        raise AnnotationError("not_json", file, None, "the file has no rows. Write one JSON object per line.")


def read_csv(file: Path) -> Iterator[Mapping[str, str]]:
    """Yield the rows of a table whose first line names the columns.

    The separator (comma, semicolon or tab) is read off the first line, or off Excel's `sep=;` before it. Columns
    without a name and rows without a value, which spreadsheets leave behind, are skipped; a row with the wrong number
    of cells becomes a `BrokenRow`. Raises AnnotationError for a file without rows, with one column or repeated names
    of columns, and for an unclosed quote, OSError for an unreadable file.
    """
    index = 0
    with _opened(file) as stream:
        first_line = stream.readline(LONGEST_VALUE)
        told = _SEPARATOR.fullmatch(first_line)
        if told:
            first_line = stream.readline(LONGEST_VALUE)
        if first_line.lstrip().startswith(("{", "[")):
            message = "it is JSON. Write one object a line, in a file whose name ends in .jsonl."
            raise AnnotationError("not_json", file, None, message)
        separator = told[1] if told else max(_SEPARATORS, key=first_line.count)
        style = {"delimiter": separator, "skipinitialspace": True, "strict": True}
        try:
            columns = [name.strip() for name in next(csv.reader([first_line], **style), [])]
            _check_columns(file, columns)
            reader = csv.reader(stream, **style)
            for cells in reader:
                if not any(cells):
                    continue
                if len(cells) != len(columns):
                    message = (
                        f"line {reader.line_num + 1 + bool(told)} has {len(cells)} cells for {len(columns)} columns "
                        f"({', '.join(columns)}). Put text that contains {style['delimiter']!r} in double quotes."
                    )
                    yield BrokenRow(file, index, message)
                else:
                    yield {name: cell for name, cell in zip(columns, cells, strict=True) if name}
                index += 1
        except csv.Error as error:
            remedy = _DOUBLE if "expected after" in str(error) else _RESTORE
            raise AnnotationError("not_json", file, index, f"it is not CSV ({error}). {remedy}") from error
    if not index:
        raise AnnotationError("not_json", file, None, "the file has no rows below the column names.")


def _lines_remedy(line: str) -> str:
    """Say how a line that is no JSON object becomes one."""
    if line.startswith("{'"):
        return "It is Python's form: write each object by json.dumps."
    if line.endswith("},"):
        return "Remove the comma after the object."
    if line == "{":
        return "Write each object on one line, for example by: jq -c . FILE"
    if not line.startswith("{"):
        return f"A table belongs into a file whose name ends in .csv. {_RESTORE}"
    return f"Write each object on one line. {_RESTORE}"


def _check_columns(file: Path, columns: Sequence[str]) -> None:
    if len(columns) == 1:
        message = (
            f"the first line, {reprlib.repr(columns[0])}, names one column. Separate columns by commas, semicolons "
            "or tabs."
        )
        raise AnnotationError("not_json", file, None, message)
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        message = f"the first line names {', '.join(twice)} more than once. Rename all but one."
        raise AnnotationError("not_json", file, None, message)


@contextmanager
def _opened(file: Path) -> Iterator[TextIO]:
    # utf-8-sig also accepts the byte-order mark that some editors write.
    with open(file, encoding="utf-8-sig", newline="") as stream:
        try:
            yield stream
        except UnicodeDecodeError as error:
            if packed := _packing(file):
                raise AnnotationError("not_json", file, None, packed) from error
            message = f"it is not UTF-8 (byte {error.object[error.start]:#04x}: {error.reason}). Save it as UTF-8."
            raise AnnotationError("encoding", file, None, message) from error


def _packing(file: Path) -> str:
    """Say by its first bytes how a file is packed or encoded; "" if they do not tell."""
    with open(file, "rb") as stream:
        start = stream.read(8)
    for magic, what in _PACKED.items():
        if start.startswith(magic):
            return f"it is {what}"
    return ""


def _as_object(file: Path, index: int, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        message = f"{reprlib.repr(value)} is not an object with the fields of one image. Remove it."
        return BrokenRow(file, index, message)
    return value


def _items(file: Path, opening: str, expected: str) -> Iterator[object]:
    """Yield the items of a JSON list, or the pairs of an object."""
    closing = {"[": "]", "{": "}"}[opening]
    with _opened(file) as stream:
        text = _JsonText(file, stream)
        if text.peek() != opening:
            if opening == "[" and text.peek() == "{":
                message = f"it has an object where {expected} must begin. JSON lines become a list by: jq -s . FILE"
                raise AnnotationError("not_json", file, None, message)
            raise text.error(f"it must be {expected}")
        text.skip()
        if text.peek() == closing:
            raise text.error(f"it is empty, but must be {expected}")
        while True:
            if opening == "[":
                yield text.value()
            else:
                name = text.value()
                if not isinstance(name, str) or text.peek() != ":":
                    raise text.error("a name in quotes and a colon are expected here")
                text.skip()
                yield name, text.value()
            text.items += 1
            mark = text.peek()
            if mark not in (",", closing):
                raise text.error(f"',' or {closing!r} is expected here")
            text.skip()
            if mark == closing:
                break
        if text.peek():
            raise text.error(f"nothing may follow the closing {closing!r}")


class _JsonText:
    """JSON text read in chunks and parsed value by value."""

    def __init__(self, file: Path, stream: TextIO) -> None:
        self.items = 0
        self._file = file
        self._stream = stream
        self._decoder = json.JSONDecoder()
        self._piece = ""
        self._position = 0

    def peek(self) -> str:
        """Return the next non-space character, "" at the end."""
        while True:
            while self._position < len(self._piece):
                if self._piece[self._position] not in " \t\r\n":
                    return self._piece[self._position]
                self._position += 1
            if not self._read_on():
                return ""

    def skip(self) -> None:
        self._position += 1

    def value(self) -> object:
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._piece, self._position)
            except (ValueError, RecursionError) as error:
                # The value may merely be cut off at the end of the piece.
                too_long = len(self._piece) - self._position > LONGEST_VALUE
                if too_long or isinstance(error, RecursionError) or not self._read_on():
                    self._position = getattr(error, "pos", self._position)
                    raise self.error(getattr(error, "msg", str(error))) from error
                continue
            if len(self._piece) - end <= _NUMBER_TAIL and self._read_on():
                continue
            self._position = end
            return value

    def error(self, reason: str) -> AnnotationError:
        here = self._piece[self._position : self._position + 40]
        found = f"before {here!r}" if here else "at the end of the file"
        message = f"it is not the expected JSON: {reason}, {found}, after {self.items:,} rows. {_RESTORE}"
        return AnnotationError("not_json", self._file, None, message)

    def _read_on(self) -> bool:
        more = self._stream.read(CHUNK)
        if not more:
            return False
        self._piece = self._piece[self._position :] + more
        self._position = 0
        return True
