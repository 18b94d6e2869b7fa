"""Problems found, by kind: counts and first examples."""

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from dataset_scripts.annotations.problems import PROBLEMS

__all__ = ["Example", "Findings"]

_EXAMPLES_KEPT = 5


class Example(NamedTuple):
    """One case of a problem."""

    text: str  # what was found
    file: str | None = None  # the annotation file, relative to the data folder; None if no row is concerned
    row: int | None = None  # position in that file, counted from 0; None if the whole file is meant


class Findings:
    """Problems by kind.

    Attributes:
        counts: kind -> number of cases, at least 1.
        examples: kind -> the first cases.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[Example]] = {}

    def add(self, kind: str, text: str, file: str | None = None, row: int | None = None) -> None:
        """Add one case."""
        self.add_all(kind, 1, [Example(text, file, row)])

    def add_all(self, kind: str, count: int, examples: Iterable[Example]) -> None:
        """Add `count` cases, keeping the first few `examples`; KeyError for an unknown kind."""
        if kind not in PROBLEMS:
            raise KeyError(kind)
        if count:
            kept = self.examples.setdefault(kind, [])
            kept.extend(islice(examples, _EXAMPLES_KEPT - len(kept)))
            self.counts[kind] = self.counts.get(kind, 0) + count

    def kinds(self, severity: str) -> list[str]:
        """Return the kinds found of one severity, in the order of `PROBLEMS`."""
        return [kind for kind, problem in PROBLEMS.items() if problem.severity == severity and kind in self.counts]
