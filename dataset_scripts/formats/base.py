"""Declaration of a data set's folder, for builders, `data check` and detection.

Each set is a subclass of `AnnotationFormat` in its own file; a set in the usual form needs only attributes.
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
    """Published size of a split; None if unpublished."""

    persons: int | None
    images: int | None
    captions: int | None


class AnnotationFormat:
    """Base of the formats; instances have no state.

    Attributes:
        name: as `load_person_search` takes it.
        title: as people write it.
        annotation_files: names or glob patterns of the annotation; the first that matches is used, with all its
            matches.
        image_folder: folder of the images; "" if paths start at the data folder.
        known_files: file often found in place of the annotation -> what it lacks.
        first_row_fields: fields that distinguish the set from others with the same file name.
        split_field: None if the set has no splits (all rows are training, unless splits are drawn).
        split_values: value in the file -> `train`, `validation` or `test`.
        identity_per_image: the set has no persons; each image counts as its own.
        default_shares: default shares of the persons for validation and test.
        published: split -> published counts; empty if there are none.
        published_total: published counts of the whole set, if there are none per split.
        first_person_id: smallest person id of a complete copy; None if unknown.
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
        """Return the absolute data folder after checking that it is complete.

        Raises ValueError if `data_dir` is None, FileNotFoundError if something is missing.
        """
        return find_data_folder(
            data_dir, self.title, self.annotation_files, self.image_folder, self.known_files, self.annotations
        )

    def matches(self, folder: Path) -> bool:
        """Whether `folder` has this set's annotation, with its fields in the first row.

        A damaged annotation matches by name, so that reading it reports the damage.
        """
        if not self.annotations(folder):
            return False
        try:
            row = next(self.rows(folder))
            return all(field in row.fields for field in self.first_row_fields)
        except (AnnotationError, OSError):
            return True

    def annotations(self, folder: Path) -> list[Path]:
        """Return the annotation files in `folder`, sorted."""
        for pattern in self.annotation_files:
            # A hidden file is none: macOS puts a `._NAME` of its own beside each file that it copies.
            found = sorted(path for path in folder.glob(pattern) if path.is_file() and path.name[0] != ".")
            if found:
                return found
        return []

    def rows(self, folder: Path) -> Iterator[AnnotationRow]:
        """Yield the raw rows of all annotation files, one in memory at a time.

        Raises AnnotationError for a damaged file, OSError for an unreadable one.
        """
        number = 0
        for file in self.annotations(folder):
            for index, fields in enumerate(self.read_file(file)):
                yield AnnotationRow(file, index, fields, number)
                number += 1

    def read_file(self, file: Path) -> Iterator[Mapping[str, object]]:
        """Yield the objects of one annotation file, by default a JSON list."""
        return read_json_list(file)

    def shares(self, folder: Path) -> tuple[float, float]:
        """Return the default shares of the persons for validation and test."""
        return self.default_shares

    def split(self, row: AnnotationRow) -> str | None:
        """Return the split of a row; None if the set has none."""
        if self.split_field is None:
            return None
        return row.choice(self.split_field, self.split_values, " ".join(self.known_files.values()))

    def image_id(self, row: AnnotationRow) -> str:
        """Return the image's path below the image folder."""
        return row.image_path(self.image_field)

    def person_id(self, row: AnnotationRow) -> int:
        """Return the person's id."""
        return row.number if self.identity_per_image else row.person_id(self.person_field)

    def person_name(self, row: AnnotationRow) -> str:
        """Return the person's name in the file; "" if that is the id."""
        return self.image_id(row) if self.identity_per_image else ""

    def captions(self, row: AnnotationRow) -> tuple[str, ...]:
        """Return the captions of a row, at least one."""
        return row.captions(self.captions_field)

    def camera(self, row: AnnotationRow) -> str | None:
        """Return the camera's name; None if unknown."""
        return None

    def record(self, row: AnnotationRow) -> PersonSearchRecord:
        """Read all fields of a row; raise AnnotationError for the first invalid one."""
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
