"""A user's own data: JSON lines or CSV, or a Hugging Face imagefolder."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from dataset_scripts.annotations.row_files import BrokenRow, read_csv, read_json_lines
from dataset_scripts.annotations.rows import AnnotationError, AnnotationRow, names_a_person
from dataset_scripts.formats.base import AnnotationFormat

__all__ = ["Custom"]

_LONGEST_NUMBER = 19
_NAME = "name of the person"  # a field that the reader adds


class _Survey(NamedTuple):
    """Facts that need the whole annotation: numbers of named persons, presence of splits."""

    numbers: Mapping[str, int]
    has_splits: bool


class Custom(AnnotationFormat):
    """Your own data: a table of images, persons and captions, as JSON lines or CSV.

    Layout: `annotations.jsonl`, `annotations.csv`, any other `.jsonl`, `.csv` or `.tsv` files, or a Hugging Face
    imagefolder with `metadata.jsonl` or `metadata.csv`, beside the images or in a folder for each split. Fields of a
    row:

    - `image` (or `file_name`): path of the image, relative to the folder of the file that names it;
    - `person_id`: a whole number of 0 or more, or a name ("track_0031"). Where one row has a name, all persons of the
      set are numbered from 0 in the order of their names as text. What stands for nobody (nan, None, N/A, -1), or is
      what a spreadsheet made of a number (1.0, 2.02E+11), is refused;
    - `caption`, or in JSON lines `captions`, a list. Rows of the same image are put together;
    - `camera`: optional, any text or number;
    - `split`: optional; train (training), val (valid, validation, dev) or test (testing), in any case.
      A file or folder of such a name gives its rows the split as well. Either all rows have a split or none.

    Without splits, a tenth of the persons goes to validation and another to test, whole persons drawn by `split_seed`;
    `validation_share` and `test_share` change that. CSV is separated by commas, semicolons or tabs, in UTF-8, the
    first line naming the columns. The annotation is read twice, in the memory of the person ids.

    Terms: yours. Pictures of people are personal data: see docs/datasets.md.
    """

    name = "custom"
    title = "your own data"
    annotation_files = (
        "annotations.jsonl",
        "annotations.csv",
        "annotations.tsv",
        "metadata.jsonl",
        "metadata.csv",
        "*.jsonl",
        "*.csv",
        "*.tsv",
        "[tvdTVD]*/metadata.jsonl",
        "[tvdTVD]*/metadata.csv",
    )
    image_folder = ""
    known_files = MappingProxyType(
        {"annotations.json": "annotations.json is not read: write one JSON object a line, in annotations.jsonl."}
    )
    first_row_fields = ("image", "person_id")
    split_values = MappingProxyType(
        {
            "train": "train",
            "training": "train",
            "val": "validation",
            "valid": "validation",
            "validation": "validation",
            "dev": "validation",
            "test": "test",
            "testing": "test",
        }
    )
    image_field = "image"
    person_field = "person_id"
    terms = "Those of the owner of the data"

    def annotations(self, folder: Path) -> list[Path]:
        """Return the annotation files, sorted; in subfolders only those named after a split."""
        files = super().annotations(folder)
        return [file for file in files if file.parent == folder or file.parent.name.lower() in self.split_values]

    def read_file(self, file: Path) -> Iterator[Mapping[str, object]]:
        """Yield the objects of one annotation file, by its extension."""
        return read_csv(file) if file.suffix in (".csv", ".tsv") else read_json_lines(file)

    def rows(self, folder: Path) -> Iterator[AnnotationRow]:
        """Yield the rows with paths, ids and splits in a common form.

        Raises AnnotationError for a damaged file, OSError for an unreadable one.
        """
        survey = self._survey(folder)
        for row in super().rows(folder):
            broken = isinstance(row.fields, BrokenRow)
            yield row if broken else replace(row, fields=self._in_one_form(row, folder, survey))

    def shares(self, folder: Path) -> tuple[float, float]:
        """Return a tenth each for a set without splits, otherwise zero."""
        return (0.0, 0.0) if self._survey(folder).has_splits else (0.1, 0.1)

    def split(self, row: AnnotationRow) -> str | None:
        """Return the split; None if no row has one."""
        if row.fields.get("split") == "":
            rule = f"neither the row nor its file names one of {', '.join(self.split_values)}. Correct either."
            raise row.error("unknown_split", "split", rule)
        return row.choice("split", self.split_values) if "split" in row.fields else None

    def person_name(self, row: AnnotationRow) -> str:
        """Return the id as text if persons are numbered; leading zeros do not count."""
        text = str(row.fields.get(_NAME, ""))
        return (text.lstrip("0") or "0") if text.isdecimal() else text

    def captions(self, row: AnnotationRow) -> tuple[str, ...]:
        """Return `captions`, or else the single `caption`."""
        return row.captions("captions") if "captions" in row.fields else (row.caption("caption"),)

    def camera(self, row: AnnotationRow) -> str | None:
        """Return the camera; None if the row has none."""
        return row.text("camera")

    def _survey(self, folder: Path) -> _Survey:
        self._check_folders(folder)
        ids: set[str] = set()
        has_splits = False
        for row in super().rows(folder):
            if isinstance(row.fields, BrokenRow):
                continue
            text = _text_of(row.fields.get("person_id"))
            if names_a_person(text):
                ids.add(text)
            has_splits = has_splits or bool(self._split_of(row, folder))
        names = sorted(ids) if any(not text.isdecimal() for text in ids) else []
        return _Survey({name: number for number, name in enumerate(names)}, has_splits)

    def _check_folders(self, folder: Path) -> None:
        """Refuse folders of an imagefolder, such as query/, that would be left out."""
        files = self.annotations(folder)
        if not files or files[0].parent == folder:
            return
        for file in sorted(folder.glob(f"*/{files[0].name}")):
            if file not in files and file.parent.name[0] != ".":
                message = (
                    f"its folder is named after no split. Name it one of {', '.join(self.split_values)} (query and "
                    "gallery are one: test), or move it elsewhere."
                )
                raise AnnotationError("unknown_split", file, None, message)

    def _split_of(self, row: AnnotationRow, folder: Path) -> object:
        own = row.fields.get("split")
        own = own.strip() if isinstance(own, str) else own
        if own not in (None, ""):
            return own.lower() if isinstance(own, str) and own.lower() in self.split_values else own
        places = (row.file.stem.lower(), row.file.parent.name.lower() if row.file.parent != folder else "")
        return next((place for place in places if place in self.split_values), "")

    def _in_one_form(self, row: AnnotationRow, folder: Path, survey: _Survey) -> dict[str, object]:
        fields = dict(row.fields)
        path = fields.pop("file_name", None)
        path = fields.get("image", path)
        if isinstance(path, str):
            fields["image"] = path if row.file.parent == folder else f"{row.file.parent.name}/{path}"
        if "person_id" in fields:
            if survey.numbers:
                fields[_NAME] = _text_of(fields["person_id"])
            fields["person_id"] = _as_number(fields["person_id"], survey.numbers)
        if "camera" in fields:
            fields["camera"] = _text_of(fields["camera"]) or fields["camera"]
        fields.pop("split", None)
        if survey.has_splits:
            fields["split"] = self._split_of(row, folder)
        return fields


def _text_of(value: object) -> str:
    """Return a text or whole number as text; "" for anything else."""
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _as_number(person: object, numbers: Mapping[str, int]) -> object:
    """Return the number of a name or of digits; other values unchanged, to be refused later."""
    text = _text_of(person)
    if numbers:
        return numbers.get(text, person)
    return int(text) if text.isdecimal() and len(text) <= _LONGEST_NUMBER else person
