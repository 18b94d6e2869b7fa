"""Result of checking a folder: facts and verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dataset_scripts.annotations.problems import PROBLEMS, SEVERITIES, SKIPPED_PROBLEMS
from dataset_scripts.formats.base import AnnotationFormat, SplitCounts
from dataset_scripts.integrity.findings import Findings

__all__ = ["FolderReport"]


@dataclass(frozen=True)
class FolderReport:
    """Result of checking a folder."""

    folder: Path  # absolute path of the data set
    layout: AnnotationFormat  # its format
    rows: int  # rows of the annotation
    images: int  # distinct images they name
    good_images: int | None  # usable images; None if not checked
    checked: str  # how images were checked: `nothing`, `headers` or `pixels`
    splits: Mapping[str, SplitCounts]  # split -> counts, as loading the valid rows would give
    shares: tuple[float, float]  # of the persons drawn for validation and test on loading
    person_ids: tuple[int, int] | None  # smallest and largest; None if the set has none
    context: int  # caption tokens that are read
    exact_tokens: bool  # long captions were counted exactly, otherwise at least
    against: tuple[str, ...]  # folders that were searched for leaks
    findings: Findings  # the problems

    @property
    def usable(self) -> bool:
        """Whether nothing prevents loading, and nothing leaks."""
        return not self.findings.kinds("error")

    @property
    def usable_with_skip(self) -> bool:
        """Whether loading works if unusable images are left out."""
        return self.usable or (bool(self.good_images) and SKIPPED_PROBLEMS.issuperset(self.findings.kinds("error")))

    @property
    def clean(self) -> bool:
        """Whether there is not even a warning; notes do not count."""
        return self.usable and not self.findings.kinds("warning")

    @property
    def annotation_files(self) -> list[str]:
        """The annotation files, relative to the folder."""
        return [file.relative_to(self.folder).as_posix() for file in self.layout.annotations(self.folder)]

    def to_dict(self) -> dict[str, object]:
        """Return everything, ready for JSON; errors before warnings before notes."""
        kinds = [kind for severity in SEVERITIES for kind in self.findings.kinds(severity)]
        return {
            "folder": str(self.folder),
            "format": self.layout.name,
            "title": self.layout.title,
            "usable": self.usable,
            "usable_with_skip": self.usable_with_skip,
            "annotation_files": self.annotation_files,
            "rows": self.rows,
            "images": self.images,
            "good_images": self.good_images,
            "images_checked": self.checked,
            "person_ids": None if self.person_ids is None else list(self.person_ids),
            "splits": {name: counts._asdict() for name, counts in self.splits.items()},
            "published": {name: counts._asdict() for name, counts in self.layout.published.items()},
            "drawn_shares": {"validation": self.shares[0], "test": self.shares[1]},
            "context_tokens": self.context,
            "token_counts": "exact" if self.exact_tokens else "lower bound",
            "against": list(self.against),
            "problems": [self._problem(kind) for kind in kinds],
        }

    def _problem(self, kind: str) -> dict[str, object]:
        problem = PROBLEMS[kind]
        return {
            "kind": kind,
            "severity": problem.severity,
            "what": problem.what,
            "count": self.findings.counts[kind],
            "examples": [example._asdict() for example in self.findings.examples[kind]],
            "remedy": problem.remedy,
        }
