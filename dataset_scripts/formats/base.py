"""What a data set's folder looks like: the declaration that builders, `data check` and detection share.

A set is one subclass of `AnnotationFormat` in a file of its own: names, published counts, terms, and how the fields of
a row are read. Where a set keeps to the field's usual form, attributes are all it takes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from dataset_scripts.annotations.folders import find_data_folder
from dataset_scripts.annotations.records import PersonSearchRecord
from dataset_scripts.annotations.row_files import read_json_list
from dataset_scripts.annotations.rows import AnnotationError, AnnotationRow

__all__ = ["AnnotationFormat", "SplitCounts"]


class SplitCounts(NamedTuple):
    """Published size of a split; None where the authors do not say."""

    persons: int | None
    images: int | None
    captions: int | None


class AnnotationFormat:
    """Base of the formats; a subclass is used as an instance without state.

    Attributes:
        name: as `load_person_search` takes it.
        title: as people write it.
        annotation_files: names or glob patterns of the annotation inside the folder, tried in this order; the first
            that finds something is used, with all that it finds.
        image_folder: folder of the images inside the data folder; "" where paths start at the data folder itself.
        known_files: files that are often found instead of the annotation, each with an explanation of what it lacks.
        first_row_fields: fields that tell a file of this set from others of the same name.
        split_field: None where the set has no splits: all is training, unless splits are drawn.
        split_values: value in the file -> `train`, `validation` or `test`.
        identity_per_image: the set has no persons; each image counts as one of its own.
        default_shares: shares of the persons that go to validation and test where the user does not say.
        published: split -> counts by the authors; empty where they give none.
        published_total: counts of the whole set, where the authors give none of its splits.
        first_person_id: smallest person id of a complete copy; None where it is not known.
        homepage, terms, citation: of the set.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    annotation_files: ClassVar[tuple[str, ...]]
    image_folder: ClassVar[str] = "imgs"
    known_files: ClassVar[Mapping[str, str]] = MappingProxyType({})
    first_row_fields: ClassVar[tuple[str, ...]] = ()
    split_field: ClassVar[str | None] = "split"
    split_values: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"train": "train", "val": "validation", "test": "test"}
    )
    image_field: ClassVar[str] = "file_path"
    person_field: ClassVar[str] = "id"
    captions_field: ClassVar[str] = "captions"
    identity_per_image: ClassVar[bool] = False
    default_shares: ClassVar[tuple[float, float]] = (0.0, 0.0)
    published: ClassVar[Mapping[str, SplitCounts]] = MappingProxyType({})
    published_total: ClassVar[SplitCounts | None] = None
    first_person_id: ClassVar[int | None] = None
    homepage: ClassVar[str] = ""
    terms: ClassVar[str] = ""
    citation: ClassVar[str] = ""

    def find(self, data_dir: str | Path | None) -> Path:
        """Returns the data folder as an absolute path, after checking that its parts are there.

        Raises ValueError where `data_dir` is None, FileNotFoundError where something is missing.
        """
        return find_data_folder(
            data_dir, self.title, self.annotation_files, self.image_folder, self.known_files, self.annotations
        )

    def matches(self, folder: Path) -> bool:
        """Says whether `folder` looks like this set: its annotation is there and starts with a row of its fields.

        A damaged annotation matches by its name: reading it will say what is wrong.
        """
        if not self.annotations(folder):
            return False
        try:
            row = next(self.rows(folder))
            return all(field in row.fields for field in self.first_row_fields)
        except (AnnotationError, OSError):
            return True

    def annotations(self, folder: Path) -> list[Path]:
        """Returns the annotation files in `folder`, sorted; empty where there are none."""
        for pattern in self.annotation_files:
            # A hidden file is none: macOS puts a `._NAME` of its own beside each file that it copies.
            found = sorted(path for path in folder.glob(pattern) if path.is_file() and path.name[0] != ".")
            if found:
                return found
        return []

    def rows(self, folder: Path) -> Iterator[AnnotationRow]:
        """Yields the raw rows of all annotation files, in the memory of one.

        Raises AnnotationError where a file is damaged, OSError where it cannot be read.
        """
        number = 0
        for file in self.annotations(folder):
            for index, fields in enumerate(self.read_file(file)):
                yield AnnotationRow(file, index, fields, number)
                number += 1

    def read_file(self, file: Path) -> Iterator[Mapping[str, object]]:
        """Yields the objects of one annotation file; a JSON list, where a subclass does not say otherwise."""
        return read_json_list(file)

    def shares(self, folder: Path) -> tuple[float, float]:
        """Returns the shares of the persons that go to validation and test where the user does not say."""
        return self.default_shares

    def split(self, row: AnnotationRow) -> str | None:
        """Returns the split of a row, None where the set has none. Raises AnnotationError for an unknown one."""
        if self.split_field is None:
            return None
        return row.choice(self.split_field, self.split_values, " ".join(self.known_files.values()))

    def image_id(self, row: AnnotationRow) -> str:
        """Returns the image's path below the image folder. Raises AnnotationError for a wrong one."""
        return row.image_path(self.image_field)

    def person_id(self, row: AnnotationRow) -> int:
        """Returns the person's id. Raises AnnotationError for a wrong one."""
        return row.number if self.identity_per_image else row.person_id(self.person_field)

    def person_name(self, row: AnnotationRow) -> str:
        """Returns what the person is called in the file, "" where that is the id itself, however many are there."""
        return self.image_id(row) if self.identity_per_image else ""

    def captions(self, row: AnnotationRow) -> tuple[str, ...]:
        """Returns the captions of a row, at least one. Raises AnnotationError for wrong ones."""
        return row.captions(self.captions_field)

    def camera(self, row: AnnotationRow) -> str | None:
        """Returns the camera's name, None where the set does not tell. Raises AnnotationError for a wrong one."""
        return None

    def record(self, row: AnnotationRow) -> PersonSearchRecord:
        """Reads all fields of a row. Raises AnnotationError for the first that is wrong."""
        return PersonSearchRecord(
            file=row.file,
            row=row.index,
            split=self.split(row),
            image_id=self.image_id(row),
            person_id=self.person_id(row),
            captions=self.captions(row),
            camera=self.camera(row),
            person_name=self.person_name(row),
        )
