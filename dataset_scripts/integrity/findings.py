"""Collecting what is wrong, by kind: how often, and the first examples."""

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from dataset_scripts.annotations.problems import PROBLEMS

__all__ = ["Example", "Findings"]

_EXAMPLES_KEPT = 5


class Example(NamedTuple):
    """One case of a problem.

    Attributes:
        text: what was found.
        file: the annotation file, relative to the data folder; None where the problem is in no row.
        row: position in that file, counted from 0; None where the file as a whole is meant.
    """

    text: str
    file: str | None = None
    row: int | None = None


class Findings:
    """Problems by kind.

    Attributes:
        counts: kind -> number of cases; kinds without a case are left out.
        examples: kind -> the first cases.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[Example]] = {}

    def add(self, kind: str, text: str, file: str | None = None, row: int | None = None) -> None:
        """Adds one case."""
        self.add_all(kind, 1, [Example(text, file, row)])

    def add_all(self, kind: str, count: int, examples: Iterable[Example]) -> None:
        """Adds `count` cases; of `examples`, no more are asked for than are kept.

        Raises KeyError for a kind that `PROBLEMS` does not have.
        """
        if kind not in PROBLEMS:
            raise KeyError(kind)
        if count:
            kept = self.examples.setdefault(kind, [])
            kept.extend(islice(examples, _EXAMPLES_KEPT - len(kept)))
            self.counts[kind] = self.counts.get(kind, 0) + count

    def kinds(self, severity: str) -> list[str]:
        """Returns the kinds found that are an `error`, or a `warning`, in the order of `PROBLEMS`."""
        return [kind for kind, problem in PROBLEMS.items() if problem.severity == severity and kind in self.counts]
