"""Read an annotation to its end, whatever is wrong in between."""

from pathlib import Path
from typing import Any, NamedTuple

from datasets.utils import tqdm

from dataset_scripts.annotations.caption_kinds import CaptionScripts, odd_part
from dataset_scripts.annotations.rows import AnnotationError, AnnotationRow
from dataset_scripts.formats.base import AnnotationFormat
from dataset_scripts.integrity.caption_lengths import CaptionLengths, LongCaption
from dataset_scripts.integrity.findings import Example, Findings
from dataset_scripts.integrity.row_columns import RowColumns

__all__ = ["Annotation", "read_annotation"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_TEXT_SHOWN = 60


class Annotation(NamedTuple):
    """Result of reading an annotation."""

    rows: int  # number of rows, invalid ones included
    columns: RowColumns  # the rows whose image is known
    complete: bool  # every file and row was read without an error


def read_annotation(layout: AnnotationFormat, folder: Path, lengths: CaptionLengths, findings: Findings) -> Annotation:
    """Read all rows, field by field where one is wrong, and add to `findings`.

    Raises OSError for an unreadable file.
    """
    _find_byte_order_marks(layout.annotations(folder), folder, findings)
    reader = _Reader(layout, folder, lengths, findings)
    rows = 0
    complete = True
    try:
        for row in tqdm(layout.rows(folder), desc="Reading the annotation", unit=" rows", delay=2):
            rows += 1
            complete = reader.take(row) and complete
    except AnnotationError as error:
        reader.report(error)
        complete = False
    reader.finish()
    return Annotation(rows, reader.columns, complete)


class _Reader:
    def __init__(self, layout: AnnotationFormat, folder: Path, lengths: CaptionLengths, findings: Findings) -> None:
        self.columns = RowColumns()
        self._layout = layout
        self._folder = folder
        self._lengths = lengths
        self._findings = findings
        self._scripts = CaptionScripts()
        self._named: set[int] = set()

    def take(self, row: AnnotationRow) -> bool:
        """Store a row's readable fields, report the rest, return its validity."""
        try:
            record = self._layout.record(row)
        except AnnotationError:
            return self._take_parts(row)
        self._store(row, record.image_id, record.person_id, record.split or "train", record.captions)
        if record.person_name and not self._layout.identity_per_image and record.person_id not in self._named:
            self._named.add(record.person_id)
            text = f"{record.person_name[:_TEXT_SHOWN]} is person {record.person_id}"
            self._findings.add("named_person", text, self._name(row.file), row.index)
        return True

    def _take_parts(self, row: AnnotationRow) -> bool:
        layout = self._layout
        readers = {
            "image_id": layout.image_id,
            "person_id": layout.person_id,
            "split": layout.split,
            "captions": layout.captions,
            "camera": layout.camera,
        }
        parts: dict[str, Any] = {}
        errors: dict[str, AnnotationError] = {}
        for part, read in readers.items():
            try:
                parts[part] = read(row)
            except AnnotationError as error:
                # A field that two of them read, or a row that cannot be read at all, is one error.
                errors.setdefault(str(error), error)
        for found in errors.values():
            self.report(found)
        if "image_id" in parts:
            split = parts["split"] or "train" if "split" in parts else None
            self._store(row, parts["image_id"], parts.get("person_id"), split, parts.get("captions", ()))
        return False

    def _store(
        self, row: AnnotationRow, image_id: str, person_id: int | None, split: str | None, captions: tuple[str, ...]
    ) -> None:
        number = len(self.columns)
        self.columns.add(row.file, row.index, image_id, person_id, split, captions)
        self.report_long(self._lengths.add(number, captions))
        self._scripts.add(number, captions)
        for caption in captions:
            if part := odd_part(caption):
                self._findings.add("odd_caption", f"{image_id}: {part[:_TEXT_SHOWN]}", self._name(row.file), row.index)
        if len(set(captions)) < len(captions):
            twice = next(caption for caption in captions if captions.count(caption) > 1)
            text = f"{image_id}: {twice[:_TEXT_SHOWN]}"
            self._findings.add("caption_twice", text, self._name(row.file), row.index)

    def report(self, error: AnnotationError) -> None:
        where = f"{error.file}: " if error.row is None else f"{error.file}, row {error.row}: "
        self._findings.add(error.kind, str(error).removeprefix(where), self._name(error.file), error.row)

    def finish(self) -> None:
        """Report what only the whole annotation tells."""
        self.report_long(self._lengths.finish())
        foreign = self._scripts.finish()
        if foreign:
            examples = (
                self._example(row, f"{caption[:_TEXT_SHOWN]} ({scripts}, most captions are {foreign.main})")
                for row, caption, scripts in foreign.examples
            )
            self._findings.add_all("other_script", foreign.total, examples)

    def report_long(self, captions: list[LongCaption]) -> None:
        self._findings.add_all("long_caption", len(captions), map(self._long_example, captions))

    def _long_example(self, caption: LongCaption) -> Example:
        bound = "" if self._lengths.exact else "at least "
        return self._example(caption.row, f"{bound}{caption.tokens} tokens: {caption.text[:_TEXT_SHOWN]} ...")

    def _example(self, row: int, text: str) -> Example:
        file, index = self.columns.place(row)
        return Example(text, self._name(file), index)

    def _name(self, file: Path) -> str:
        return file.relative_to(self._folder).as_posix()


def _find_byte_order_marks(files: list[Path], folder: Path, findings: Findings) -> None:
    for file in files:
        with open(file, "rb") as stream:
            if stream.read(len(_BYTE_ORDER_MARK)) == _BYTE_ORDER_MARK:
                findings.add("byte_order_mark", "EF BB BF before the text", file.relative_to(folder).as_posix())
