"""Result of the leak guard: training images held out elsewhere, and their persons."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Leak", "LeakReport"]

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Leak:
    """A training image that is also held out."""

    train_row: int  # its row on the training side
    train_image_id: str  # train_image_id, train_person_id: its ids there
    train_person_id: int
    split: str  # the held-out split, as the caller named it
    # image_id, person_id: ids of the held-out image: the nearest picture, or else the first of that name
    image_id: str
    person_id: int
    evidence: tuple[str, ...]  # `name` (same source file name), `picture` (same picture), or both, in this order
    distance: int | None  # differing bits of the two hashes; None if an image is unreadable

    def to_dict(self) -> dict[str, object]:
        """Return the attributes, ready for JSON."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "evidence": list(self.evidence)}


@dataclass(frozen=True, eq=False)
class LeakReport:
    """Leaks of held-out images into a training set."""

    leaks: tuple[Leak, ...]  # one per leaking training image, in row order
    train_images: int  # number of training images
    train_rows: np.ndarray  # `(leaks,)`, int64: rows of the leaking training images, ascending
    train_person_ids: np.ndarray  # `(persons,)`, int64: the persons on them, ascending
    person_rows: np.ndarray  # `(rows,)`, int64: rows of all training images of those persons, ascending
    held_out_images: Mapping[str, int]  # split -> number of its images
    leaked_images: Mapping[str, int]  # split -> number of its images that are in training
    not_compared: int  # images of both sides compared by name only (unreadable or of one colour)

    def __bool__(self) -> bool:
        return bool(self.leaks)

    def rows_to_drop(self, by: str = "persons") -> np.ndarray:
        """Return the training rows to drop: all of leaking `persons`, or leaking `images` only.

        Persons is the default because a test is on people never seen: another photo of the same person in the same
        clothes gives the answer away too. Raises ValueError for another `by`.
        """
        if by not in ("persons", "images"):
            raise ValueError(f"by is {by!r}, but must be 'persons' or 'images'.")
        return self.person_rows if by == "persons" else self.train_rows

    def by_evidence(self) -> dict[str, int]:
        """Count leaks by evidence: `name and picture`, `name`, `picture`."""
        counts = Counter(" and ".join(leak.evidence) for leak in self.leaks)
        return {kind: counts[kind] for kind in ("name and picture", "name", "picture")}

    def summary(self) -> str:
        """Summarise the leaks in a few lines, with examples."""
        blind = f"{self.not_compared:,} unreadable or one-coloured image(s) were compared by name only."
        held_out = sum(self.held_out_images.values())
        if not self.leaks:
            lines = [f"None of {self.train_images:,} training images is among {held_out:,} held-out images."]
            return "\n".join(lines + [blind] * bool(self.not_compared))
        kinds = ", ".join(f"{count:,} by {kind}" for kind, count in self.by_evidence().items() if count)
        lines = [
            f"{len(self.leaks):,} of {self.train_images:,} training images are held out too: {kinds}.",
            f"They show {len(self.train_person_ids):,} person(s), who have {len(self.person_rows):,} training images.",
            *(
                f"{split}: {count:,} of {self.held_out_images[split]:,} images are in training."
                for split, count in self.leaked_images.items()
                if count
            ),
            *(f"  {_example(leak)}" for leak in self.leaks[:_EXAMPLES]),
        ]
        if len(self.leaks) > _EXAMPLES:
            lines.append(f"  and {len(self.leaks) - _EXAMPLES:,} more")
        return "\n".join(lines + [blind] * bool(self.not_compared))

    def to_dict(self) -> dict[str, object]:
        """Return everything but the rows, ready for JSON."""
        return {
            "train_images": self.train_images,
            "leaking_train_images": len(self.leaks),
            "leaking_train_persons": len(self.train_person_ids),
            "train_images_of_leaking_persons": len(self.person_rows),
            "by_evidence": self.by_evidence(),
            "held_out_images": dict(self.held_out_images),
            "leaked_images": dict(self.leaked_images),
            "not_compared": self.not_compared,
            "train_person_ids": self.train_person_ids.tolist(),
            "leaks": [leak.to_dict() for leak in self.leaks],
        }


def _example(leak: Leak) -> str:
    distance = "" if leak.distance is None else f", {leak.distance} bits apart"
    return (
        f"{leak.train_image_id} (person {leak.train_person_id}) is {leak.split} {leak.image_id} "
        f"(person {leak.person_id}): {' and '.join(leak.evidence)}{distance}"
    )
