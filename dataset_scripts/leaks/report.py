"""What the leak guard found: training images that are held out elsewhere, and the persons on them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Leak", "LeakReport"]

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Leak:
    """A training image that is also held out.

    Attributes:
        train_row: its row on the training side.
        train_image_id, train_person_id: its names there.
        split: the held-out split, as the caller named it.
        image_id, person_id: names of the held-out image; of several, of the nearest picture, or else the first name.
        evidence: `name` (the same source file name), `picture` (the same picture), or both, in this order.
        distance: bits in which the two hashes differ; None where one of the images could not be read.
    """

    train_row: int
    train_image_id: str
    train_person_id: int
    split: str
    image_id: str
    person_id: int
    evidence: tuple[str, ...]
    distance: int | None

    def to_dict(self) -> dict[str, object]:
        """Returns the attributes, ready for JSON."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "evidence": list(self.evidence)}


@dataclass(frozen=True, eq=False)
class LeakReport:
    """The leaks from held-out images into a training set.

    Attributes:
        leaks: one for each training image that is held out too, in the order of the training rows.
        train_images: number of training images.
        train_rows: `(leaks,)`, int64: rows of the training images that are held out too, ascending.
        train_person_ids: `(persons,)`, int64: the persons on them, ascending.
        person_rows: `(rows,)`, int64: rows of all training images of those persons, ascending.
        held_out_images: split -> number of its images.
        leaked_images: split -> number of its images that are in training.
        not_compared: number of images of both sides without a usable picture (unreadable, or of one colour): they are
            compared by name only.
    """

    leaks: tuple[Leak, ...]
    train_images: int
    train_rows: np.ndarray
    train_person_ids: np.ndarray
    person_rows: np.ndarray
    held_out_images: Mapping[str, int]
    leaked_images: Mapping[str, int]
    not_compared: int

    def __bool__(self) -> bool:
        """True if something leaks."""
        return bool(self.leaks)

    def rows_to_drop(self, by: str = "persons") -> np.ndarray:
        """Returns the training rows to drop: all images of the persons who leak, or only the `images` that do.

        Persons is the default, since a test is on people never seen: a second photo of the same person, in the same
        clothes and described by the same words, gives the answer away as the first one does.

        Raises ValueError for another `by`.
        """
        if by not in ("persons", "images"):
            raise ValueError(f"by is {by!r}, but must be 'persons' or 'images'.")
        return self.person_rows if by == "persons" else self.train_rows

    def by_evidence(self) -> dict[str, int]:
        """Counts the leaks by what proves them: `name and picture`, `name`, `picture`."""
        counts = Counter(" and ".join(leak.evidence) for leak in self.leaks)
        return {kind: counts[kind] for kind in ("name and picture", "name", "picture")}

    def summary(self) -> str:
        """Says in some lines what leaks, by what evidence, with the first examples."""
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
        """Returns everything but the rows, ready for JSON."""
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
    """Writes one leak as a line."""
    distance = "" if leak.distance is None else f", {leak.distance} bits apart"
    return (
        f"{leak.train_image_id} (person {leak.train_person_id}) is {leak.split} {leak.image_id} "
        f"(person {leak.person_id}): {' and '.join(leak.evidence)}{distance}"
    )
