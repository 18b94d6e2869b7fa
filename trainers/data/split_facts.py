"""What a split holds and how it came about: the facts that belong beside every figure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import datasets

from dataset_scripts.annotations.splitting import PersonSplit, read_person_split


@dataclass(frozen=True)
class SplitFacts:
    """Sizes of a split, and how it was drawn.

    Attributes:
        persons, images, captions: counts.
        drawn: how its persons were drawn; `None` for a split of the set's own.
        options: of the data set, where they are not the usual ones.
    """

    persons: int
    images: int
    captions: int
    drawn: PersonSplit | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As fields of a row of `results.json`; how it was drawn only where it was."""
        row: dict[str, Any] = {"persons": self.persons, "images": self.images, "captions": self.captions}
        if self.drawn is not None:
            row["drawn_splits"] = asdict(self.drawn)
        if self.options:
            row["dataset_options"] = dict(self.options)
        return row

    def __str__(self) -> str:
        """Sizes, and the draw, or the options where there was none."""
        sizes = f"{self.persons:,} persons, {self.images:,} images, {self.captions:,} captions"
        if self.drawn is not None:
            return f"{sizes}; drawn by {self.drawn}"
        return f"{sizes}; {options_text(self.options)}" if self.options else sizes


def split_facts(dataset: datasets.Dataset, split: str, options: Mapping[str, Any] | None = None) -> SplitFacts:
    """The facts of a split.

    Args:
        dataset: its rows.
        split: its name.
        options: that the data set was loaded with.
    """
    captions = sum(map(len, dataset["captions"]))
    drawn = read_person_split(dataset)
    if drawn is not None and not drawn.made(split):
        drawn = None
    return SplitFacts(len(set(dataset["person_id"])), len(dataset), captions, drawn, dict(options or {}))


def evaluation_facts(
    dataset: datasets.Dataset, split: str, image_size: tuple[int, int], options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Image size and facts of a split, as fields of a row of `results.json`; see [`split_facts`]."""
    return {"image_size": list(image_size), **split_facts(dataset, split, options).to_dict()}


def row_text(row: Mapping[str, Any]) -> str:
    """What a row of `results.json` says of its split beyond its metrics; "" for rows of earlier versions."""
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
    """An image size as people write it: height x width."""
    height, width = size
    return f"{height}x{width}"


def options_text(options: Mapping[str, Any]) -> str:
    """Options of a data set in words."""
    return ", ".join(f"{name} {value}" for name, value in options.items())


__all__ = ["SplitFacts", "evaluation_facts", "options_text", "row_text", "size_text", "split_facts"]
