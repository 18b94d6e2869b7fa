"""What an evaluation found, as rows of JSON and as text for people."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import datasets

from dataset_scripts.common.text.printable import printable, shown
from modeling_prompt_clip.retrieval import (
    Comparison,
    EncodedSplit,
    Interval,
    OpenSetRates,
    QueryValues,
    RetrievalMetrics,
    bootstrap_intervals,
    compare_models,
    metrics_table,
)
from trainers.data.split_facts import SplitFacts, size_text

TEXT_TO_IMAGE = "text_to_image"
RERANKED_NOTE = (
    "Outside the protocol: re-ranked by what the other queries and the gallery of the split say. Report it beside the "
    "figures above, not in their place."
)


@dataclass(frozen=True)
class Reranked:
    """What a re-ranking made of an evaluation."""

    settings: dict[str, Any]  # of the method
    values: dict[str, QueryValues]  # of the queries, by direction


@dataclass
class Evaluation:
    """A model on one split."""

    model: str  # as it was named
    data: str  # as it was named
    split: str  # its name
    image_size: tuple[int, int]  # (height, width) in pixels
    protocol: str  # one sentence
    facts: SplitFacts  # what the split holds, and how it was drawn
    values: dict[str, QueryValues]  # of the queries, by direction
    # metrics of the captions by what a column of the data set says of their image
    groups: dict[str, RetrievalMetrics] = field(default_factory=dict)
    open_set: OpenSetRates | None = None  # how the threshold does that validation gave
    compared_with: str | None = None  # the other model, where there is one; both are evaluated at `image_size`
    compared_size: tuple[int, int] | None = None  # (height, width) that the other model has of its own
    # settings in which the runs that made both differ, this one's first; None where one of the runs is not known
    compared_settings: dict[str, list[Any]] | None = None
    # this model's figures minus the other's, by direction
    comparisons: dict[str, Comparison] = field(default_factory=dict)
    reranked: dict[str, Reranked] = field(default_factory=dict)  # by method; never in the place of the plain figures

    @cached_property
    def intervals(self) -> dict[str, dict[str, Interval]]:
        """Bootstrap intervals over identities, by direction and metric."""
        return {direction: bootstrap_intervals(values) for direction, values in self.values.items()}

    def rows(self) -> list[dict[str, Any]]:
        """One for each direction, as they stand in `results.json`."""
        return [self._row(direction) for direction in self.values]

    def _row(self, direction: str) -> dict[str, Any]:
        row = {
            "method": self.model,
            "data": self.data,
            "split": self.split,
            "direction": direction,
            "image_size": list(self.image_size),
            **self.facts.to_dict(),
            "protocol": self.protocol,
            "metrics": self.values[direction].mean().to_dict(),
            "intervals": {name: interval.to_list() for name, interval in self.intervals[direction].items()},
            "interval_level": next(iter(self.intervals[direction].values())).level,
        }
        if direction == TEXT_TO_IMAGE and self.groups:
            row["groups"] = {name: metrics.to_dict() for name, metrics in self.groups.items()}
        if direction == TEXT_TO_IMAGE and self.open_set is not None:
            row["open_set"] = asdict(self.open_set)
        if direction in self.comparisons:
            row["compared_with"] = {
                "method": self.compared_with,
                "image_size": list(self.image_size),
                "own_image_size": list(self.compared_size or self.image_size),
                "settings": self.compared_settings,
                **_comparison_row(self.comparisons[direction]),
            }
        if self.reranked:
            row["reranked"] = {name: self._reranked_row(found, direction) for name, found in self.reranked.items()}
        return row

    def _reranked_row(self, found: Reranked, direction: str) -> dict[str, Any]:
        intervals = bootstrap_intervals(found.values[direction])
        comparison = compare_models(self.values[direction], found.values[direction])
        return {
            "settings": found.settings,
            "metrics": found.values[direction].mean().to_dict(),
            "intervals": {name: interval.to_list() for name, interval in intervals.items()},
            "minus_plain": _comparison_row(comparison),
        }

    def headline(self) -> str:
        """What the figures are of: model, image size, data, split, its sizes and how it was drawn."""
        return f"{self.model} at {size_text(self.image_size)} on {self.data}, {self.split}: {self.facts}"

    def text(self) -> str:
        """Tables and sentences, a newline at the end."""
        named = {direction.replace("_", " "): values.mean() for direction, values in self.values.items()}
        parts = [self.headline(), metrics_table(named)]
        parts.append("\n".join(self._interval_lines()))
        if self.groups:
            parts.append(metrics_table(self.groups, header="text to image"))
        if self.open_set is not None:
            parts.append(
                f"Open set, text to image: answers need a score of {self.open_set.threshold:.4f} (set on "
                f"{'this very split' if self.split == 'validation' else 'validation'}). "
                f"Persons who are not there: {self.open_set.false_alarm_rate:.2f} % false alarms; persons who are: "
                f"{self.open_set.miss_rate:.2f} % missed."
            )
        for direction, comparison in self.comparisons.items():
            sizes = f"both at {size_text(self.image_size)}"
            if self.compared_size not in (None, self.image_size):
                sizes += f", {self.compared_with} of its own has {size_text(self.compared_size)}"
            title = f"{self.model} minus {self.compared_with} ({sizes}), {direction.replace('_', ' ')}"
            parts.append(_comparison_text(title, comparison))
        if self.compared_settings is not None:
            parts.append(self._settings_text())
        parts.append(f"Protocol: {self.protocol}.")
        return "\n\n".join([*parts, *self._reranked_text()]) + "\n"

    def _settings_text(self) -> str:
        """Name the settings in which both runs differ."""
        pairs = (self.compared_settings or {}).items()
        differences = [f"{name} {shown(mine)} and {shown(theirs)}" for name, (mine, theirs) in pairs]
        return f"Settings of {self.model} and {self.compared_with}: {printable('; '.join(differences) or 'the same')}"

    def _reranked_text(self) -> list[str]:
        """A table apart, and the paired differences from the plain ranking; nothing where nothing was re-ranked."""
        if not self.reranked:
            return []
        table, differences = {}, []
        for name, found in self.reranked.items():
            settings = ", ".join(f"{key}={value}" for key, value in found.settings.items())
            for direction, values in found.values.items():
                words = direction.replace("_", " ")
                table[f"{name}, {words}"] = values.mean()
                comparison = compare_models(self.values[direction], values)
                differences.append(_comparison_text(f"{name} ({settings}) minus plain, {words}", comparison))
        return [RERANKED_NOTE, metrics_table(table, header="re-ranked"), *differences]

    def _interval_lines(self) -> list[str]:
        """One line a direction."""
        lines = []
        for direction, intervals in self.intervals.items():
            level = f"{100 * next(iter(intervals.values())).level:.0f} %"
            ends = ", ".join(f"{name} {ends.low:.2f} to {ends.high:.2f}" for name, ends in intervals.items())
            lines.append(f"{level} intervals over persons, {direction.replace('_', ' ')}: {ends}")
        return lines


def group_names(dataset: datasets.Dataset, column: str) -> list[str]:
    """Names of the groups of rows by what a column says.

    Raises ValueError: no such column, or one that groups nothing.
    """
    if column not in dataset.column_names:
        raise ValueError(f"by is {column!r}; the data set has the columns {', '.join(dataset.column_names)}")
    cells = dataset.select_columns([column])[:][column]
    if all(cell is None for cell in cells):
        raise ValueError(f"by is {column!r}, and the data set says nothing in that column")
    if not all(cell is None or isinstance(cell, str | int | bool) for cell in cells):
        raise ValueError(
            f"by is {column!r}, which holds {type(cells[0]).__name__}s; name a column of texts or integers"
        )
    return [f"{column} unknown" if cell is None else f"{column} {cell}" for cell in cells]


def grouped_metrics(values: QueryValues, encoded: EncodedSplit, names: Sequence[str]) -> dict[str, RetrievalMetrics]:
    """Metrics of the captions by the group of the image that each describes; all rank the whole gallery."""
    members: dict[str, list[int]] = {}
    for place, row in enumerate(encoded.caption_image_rows[values.rows].tolist()):
        members.setdefault(names[row], []).append(place)
    return {name: values.subset(places).mean() for name, places in sorted(members.items())}


def _comparison_row(comparison: Comparison) -> dict[str, Any]:
    return {
        "differences": comparison.differences,
        "intervals": {name: interval.to_list() for name, interval in comparison.intervals.items()},
        "gained_person_ids": comparison.gained,
        "lost_person_ids": comparison.lost,
    }


def _comparison_text(title: str, comparison: Comparison) -> str:
    """Differences with their intervals, and how many persons they come from."""
    parts = [
        f"{name} {value:+.2f} ({comparison.intervals[name].low:+.2f} to {comparison.intervals[name].high:+.2f})"
        for name, value in comparison.differences.items()
    ]
    persons = f"found first more often: {len(comparison.gained)} persons, less often: {len(comparison.lost)}"
    return f"{title}: {', '.join(parts)}; {persons}"


__all__ = ["Evaluation", "Reranked", "group_names", "grouped_metrics"]
