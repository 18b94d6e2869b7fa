"""Facts of a split that belong beside every figure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import datasets

from dataset_scripts.annotations.splitting import PersonSplit, read_person_split


@dataclass(frozen=True)
class SplitFacts:
    """Sizes of a split, and how it was drawn."""

    persons: int  # persons, images, captions: counts
    images: int
    captions: int
    drawn: PersonSplit | None = None  # how persons were drawn; `None` for a split of the set's own
    options: Mapping[str, Any] = field(default_factory=dict)  # of the data set, where not the default

    def to_dict(self) -> dict[str, Any]:
        """Fields of a row of `results.json`."""
        row: dict[str, Any] = {"persons": self.persons, "images": self.images, "captions": self.captions}
        if self.drawn is not None:
            row["drawn_splits"] = asdict(self.drawn)
        if self.options:
            row["dataset_options"] = dict(self.options)
        return row

    def __str__(self) -> str:
        """Sizes, and the draw or the options."""
        sizes = f"{self.persons:,} persons, {self.images:,} images, {self.captions:,} captions"
        if self.drawn is not None:
            return f"{sizes}; drawn by {self.drawn}"
        return f"{sizes}; {options_text(self.options)}" if self.options else sizes


def split_facts(dataset: datasets.Dataset, split: str, options: Mapping[str, Any] | None = None) -> SplitFacts:
    """Collect the facts of a split that was loaded with `options`."""
    captions = sum(map(len, dataset["captions"]))
    drawn = read_person_split(dataset)
    if drawn is not None and not drawn.made(split):
        drawn = None
    return SplitFacts(len(set(dataset["person_id"])), len(dataset), captions, drawn, dict(options or {}))


def evaluation_facts(
    dataset: datasets.Dataset, split: str, image_size: tuple[int, int], options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Image size and facts of a split, as fields of a row of `results.json`."""
    return {"image_size": list(image_size), **split_facts(dataset, split, options).to_dict()}


def row_text(row: Mapping[str, Any]) -> str:
    """Text of a `results.json` row about its split; "" for rows of earlier versions."""
    parts = []
    if "persons" in row:
        parts.append(f"{row['persons']:,} persons")
    if "image_size" in row:
        parts.append(f"at {size_text(row['image_size'])} pixels")
    text = ", ".join(parts)
    if "drawn_splits" in row:
        text += f"; drawn by {PersonSplit(**row['drawn_splits'])}"
    return text


def size_text(size: tuple[int, int] | list[int]) -> str:
    """Format an image size as height x width."""
    height, width = size
    return f"{height}x{width}"


def options_text(options: Mapping[str, Any]) -> str:
    """Format options of a data set."""
    return ", ".join(f"{name} {value}" for name, value in options.items())


__all__ = ["SplitFacts", "evaluation_facts", "options_text", "row_text", "size_text", "split_facts"]
