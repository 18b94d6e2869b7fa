"""Splits for sets that have none: whole persons are drawn by a seed, so that no person is in two splits."""

import hashlib
import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_scripts.annotations.records import PersonSearchRecord

if TYPE_CHECKING:
    import datasets

__all__ = [
    "SPLIT_RULES",
    "SplitDraw",
    "carve_splits",
    "check_drawn_persons",
    "check_split_rule",
    "drawn_splits",
    "write_draw",
]

SPLIT_RULES = ("names", "numbers")
"""How persons are drawn: each by its own name (the rule), or by its number among the others (the rule of before)."""

_DRAW = "drawn_splits.json"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitDraw:
    """How splits were drawn.

    Attributes:
        validation_share, test_share: of the training persons; 0 for a split that was not drawn.
        split_seed: 0 or greater.
        split_rule: one of `SPLIT_RULES`.
    """

    validation_share: float
    test_share: float
    split_seed: int
    split_rule: str = "names"

    def drew(self, split: str) -> bool:
        """Whether the persons of this split were drawn; train keeps whoever the others leave."""
        shares = {"validation": self.validation_share, "test": self.test_share}
        return bool(shares.get(split, self.validation_share or self.test_share))

    def __str__(self) -> str:
        rule = "" if self.split_rule == "names" else f", split_rule {self.split_rule}"
        return (
            f"split_seed {self.split_seed} (validation_share {self.validation_share:g}, test_share "
            f"{self.test_share:g}{rule})"
        )


def carve_splits(
    records: Sequence[PersonSearchRecord],
    *,
    validation_share: float,
    test_share: float,
    seed: int,
    rule: str = "names",
) -> list[PersonSearchRecord]:
    """Moves a share of the training persons to the validation and to the test split.

    Records without a split count as training. By the rule `names`, a hash of the seed and of the person's own name
    gives a number in [0, 1): below `validation_share` the person goes to validation, from `1 - test_share` on to test.
    It hangs on nobody else, so persons that are added or removed move nobody, and shares are reached only about: n
    persons give n * share, give or take sqrt(n * share * (1 - share)). Where a share above 0 reaches nobody, or both
    leave nobody, the person whose number is nearest moves: the one case that hangs on who else is there.

    By the rule `numbers`, that of earlier versions, the persons are sorted by a hash of the seed and of `person_id`,
    and exact shares are taken from the start: a person more moves others.

    Args:
        records: the set.
        validation_share: share of the training persons, in [0, 1).
        test_share: likewise.
        seed: 0 or greater.
        rule: one of `SPLIT_RULES`.

    Returns:
        All records in their order, each with a split. A warning in the log says what was moved.

    Raises:
        ValueError: an option is out of range, the set has that split already, or has too few persons.
    """
    _check_options(validation_share, test_share, seed)
    check_split_rule(rule)
    records = [record if record.split else replace(record, split="train") for record in records]
    _check_missing({record.split for record in records}, validation_share, test_share)
    names = {record.person_id: record.name for record in reversed(records) if record.split == "train"}
    try:
        check_drawn_persons(len(names), validation_share, test_share)
    except ValueError as error:
        place = f"{records[0].file}: " if records else ""
        raise ValueError(f"{place}{error}") from error
    if not validation_share + test_share:
        return records
    draw = _by_number if rule == "numbers" else _by_name
    validation, test = draw(names, validation_share, test_share, seed)
    moved = dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    _logger.warning(
        "%s: splits were made here, not by its authors: of %d training persons, %d went to validation and %d to test, "
        "drawn by split_seed %d. Compare results only with runs that use the same.",
        records[0].file,
        len(names),
        len(validation),
        len(test),
        seed,
    )
    return [
        replace(record, split=moved[record.person_id])
        if record.split == "train" and record.person_id in moved
        else record
        for record in records
    ]


def check_drawn_persons(persons: int, validation_share: float, test_share: float) -> None:
    """Raises ValueError where splits of these shares leave none of `persons` to train on."""
    least = sum(share > 0 for share in (validation_share, test_share))
    if least and (validation_share + test_share >= 1 or least >= persons):
        raise ValueError(
            f"validation_share {validation_share} and test_share {test_share} of {persons} training person(s) "
            "leave nobody to train on. Lower them, or set them to 0."
        )


def check_split_rule(rule: str) -> None:
    """Raises ValueError for what is no rule."""
    if rule not in SPLIT_RULES:
        raise ValueError(f"split_rule is {rule!r}, but must be one of {', '.join(SPLIT_RULES)}.")


def write_draw(folder: str | Path, draw: SplitDraw) -> None:
    """Writes, beside a table, how its splits were drawn."""
    Path(folder, _DRAW).write_text(json.dumps(asdict(draw), indent=2) + "\n", encoding="utf-8")


def drawn_splits(dataset: "datasets.Dataset") -> SplitDraw | None:
    """Returns how the splits of a loaded set were drawn; None for splits of the set's own."""
    for folder in sorted({Path(file["filename"]).parent for file in dataset.cache_files}):
        if (folder / _DRAW).is_file():
            return SplitDraw(**json.loads((folder / _DRAW).read_text(encoding="utf-8")))
    return None


def _by_name(
    names: dict[int, str], validation_share: float, test_share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Returns the persons of validation and of test, each drawn by its own name."""
    places = {person: _place(seed, name) for person, name in names.items()}
    persons = sorted(names, key=lambda person: (places[person], names[person]))
    first = sum(place < validation_share for place in places.values())
    last = sum(place >= 1 - test_share for place in places.values()) if test_share else 0
    least_first, least_last = int(validation_share > 0), int(test_share > 0)
    first, last = max(first, least_first), max(last, least_last)
    while first + last >= len(persons):  # a tiny set whose persons all fall to one side
        if first > least_first and (first >= last or last <= least_last):
            first -= 1
        else:
            last -= 1
    return persons[:first], persons[len(persons) - last :]


def _place(seed: int, name: str) -> float:
    """Returns the person's own number in [0, 1): 53 bits of a hash, which a float holds exactly."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def _by_number(
    names: dict[int, str], validation_share: float, test_share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Returns the persons of validation and of test as earlier versions drew them."""
    persons = sorted(names, key=lambda person: hashlib.sha256(f"{seed}/{person}".encode()).digest())
    validation, test = (max(1, round(share * len(names))) if share else 0 for share in (validation_share, test_share))
    if validation + test >= len(persons):
        raise ValueError(
            f"validation_share {validation_share} and test_share {test_share} of {len(persons)} training person(s) "
            "leave nobody to train on. Lower them, or set them to 0."
        )
    return persons[:validation], persons[validation : validation + test]


def _check_missing(present: Collection[str], validation_share: float, test_share: float) -> None:
    """Refuses to make a split that the set has."""
    for name, share in (("validation", validation_share), ("test", test_share)):
        if share and name in present:
            raise ValueError(
                f"{name}_share is {share}, but the set has a {name} split of its own. Set {name}_share to 0."
            )


def _check_options(validation_share: float, test_share: float, seed: int) -> None:
    """Refuses options out of their range."""
    for name, share in (("validation_share", validation_share), ("test_share", test_share)):
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
            raise ValueError(f"{name} is {share!r}, but must be a share of the persons, 0 or greater and below 1.")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"split_seed is {seed!r}, but must be a whole number, 0 or greater.")
