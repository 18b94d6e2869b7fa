"""Splits by person for sets that have none."""

import hashlib
import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_scripts.annotations.records import PersonSearchRecord
from dataset_scripts.common.numbers import check_integer, check_number
from dataset_scripts.common.text.documents import read_json_as

if TYPE_CHECKING:
    import datasets

__all__ = [
    "SPLIT_RULES",
    "PersonSplit",
    "check_enough_persons",
    "check_split_rule",
    "read_person_split",
    "split_by_person",
    "write_person_split",
]

SPLIT_RULES = ("names", "numbers")
"""How persons are drawn: each by its own name (default), or by sorted order, as earlier versions did."""

_FILE = "drawn_splits.json"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PersonSplit:
    """How persons were drawn for the splits."""

    validation_share: float  # validation_share, test_share: of the training persons; 0 if that split was not drawn
    test_share: float
    split_seed: int  # 0 or greater
    split_rule: str = "names"  # one of `SPLIT_RULES`

    def made(self, split: str) -> bool:
        """Whether persons of this split were drawn; train keeps those left over."""
        shares = {"validation": self.validation_share, "test": self.test_share}
        return bool(shares.get(split, self.validation_share or self.test_share))

    def __str__(self) -> str:
        rule = "" if self.split_rule == "names" else f", split_rule {self.split_rule}"
        return (
            f"split_seed {self.split_seed} (validation_share {self.validation_share:g}, test_share "
            f"{self.test_share:g}{rule})"
        )


def split_by_person(
    records: Sequence[PersonSearchRecord],
    *,
    validation_share: float,
    test_share: float,
    split_seed: int,
    split_rule: str = "names",
) -> list[PersonSearchRecord]:
    """Move a share of the training persons to validation and test.

    Records without a split count as training. Rule `names`: a hash of the seed and the person's name gives a number in
    [0, 1); below `validation_share` the person goes to validation, from `1 - test_share` on to test. Adding or
    removing persons moves nobody else, so shares hold only approximately: n persons give n * share, give or take
    sqrt(n * share * (1 - share)). If a share above 0 draws nobody, or nobody is left to train on, the person with the
    nearest number moves. Rule `numbers`, of earlier versions: persons are sorted by a hash of seed and `person_id`,
    and exact shares are taken from the start, so one more person moves others.

    Args:
        records: all images of the set.
        validation_share, test_share: shares of the training persons, in [0, 1).
        split_seed: 0 or greater.
        split_rule: one of `SPLIT_RULES`.

    Returns:
        All records in their order, each with a split; a log warning says what was moved.

    Raises ValueError, TypeError: a share or the seed is out of range, the set already has that split, or too few
        persons.
    """
    check_number("validation_share", validation_share, least=0, below=1)
    check_number("test_share", test_share, least=0, below=1)
    check_integer("split_seed", split_seed, least=0)
    check_split_rule(split_rule)
    records = [record if record.split else replace(record, split="train") for record in records]
    _check_absent({record.split for record in records}, validation_share, test_share)
    names = {record.person_id: record.name for record in reversed(records) if record.split == "train"}
    try:
        check_enough_persons(len(names), validation_share, test_share)
    except ValueError as error:
        place = f"{records[0].file}: " if records else ""
        raise ValueError(f"{place}{error}") from error
    if not validation_share + test_share:
        return records
    draw = _by_number if split_rule == "numbers" else _by_name
    validation, test = draw(names, validation_share, test_share, split_seed)
    moved = dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    _logger.warning(
        "%s: splits were drawn here, not by the authors: of %d training persons, %d went to validation and %d to "
        "test, by split_seed %d. Compare results only with runs that use the same.",
        records[0].file,
        len(names),
        len(validation),
        len(test),
        split_seed,
    )
    return [
        replace(record, split=moved[record.person_id])
        if record.split == "train" and record.person_id in moved
        else record
        for record in records
    ]


def check_enough_persons(persons: int, validation_share: float, test_share: float) -> None:
    """Raise ValueError if these shares leave nobody to train on."""
    least = sum(share > 0 for share in (validation_share, test_share))
    if least and (validation_share + test_share >= 1 or least >= persons):
        raise ValueError(
            f"validation_share {validation_share} and test_share {test_share} of {persons} training person(s) "
            "leave nobody to train on. Lower them, or set them to 0."
        )


def check_split_rule(rule: str) -> None:
    """Raise ValueError for an unknown rule."""
    if rule not in SPLIT_RULES:
        raise ValueError(f"split_rule is {rule!r}, but must be one of {', '.join(SPLIT_RULES)}.")


def write_person_split(folder: str | Path, split: PersonSplit) -> None:
    """Record, beside a table, how its persons were split."""
    Path(folder, _FILE).write_text(json.dumps(asdict(split), indent=2) + "\n", encoding="utf-8")


def read_person_split(dataset: "datasets.Dataset") -> PersonSplit | None:
    """Return how a loaded set was split; None for original splits."""
    for folder in sorted({Path(file["filename"]).parent for file in dataset.cache_files}):
        if (folder / _FILE).is_file():
            recorded = read_json_as(dict, folder / _FILE)
            try:
                return PersonSplit(**recorded)
            except TypeError as error:
                raise ValueError(
                    f"{folder / _FILE} is no record of a split; remove {folder}: it is built again"
                ) from error
    return None


def _by_name(
    names: dict[int, str], validation_share: float, test_share: float, seed: int
) -> tuple[list[int], list[int]]:
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
    """Return the person's number in [0, 1): 53 bits, exact in a float."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def _by_number(
    names: dict[int, str], validation_share: float, test_share: float, seed: int
) -> tuple[list[int], list[int]]:
    persons = sorted(names, key=lambda person: hashlib.sha256(f"{seed}/{person}".encode()).digest())
    validation, test = (max(1, round(share * len(names))) if share else 0 for share in (validation_share, test_share))
    if validation + test >= len(persons):
        raise ValueError(
            f"validation_share {validation_share} and test_share {test_share} of {len(persons)} training person(s) "
            "leave nobody to train on. Lower them, or set them to 0."
        )
    return persons[:validation], persons[validation : validation + test]


def _check_absent(present: Collection[str], validation_share: float, test_share: float) -> None:
    for name, share in (("validation", validation_share), ("test", test_share)):
        if share and name in present:
            raise ValueError(
                f"{name}_share is {share}, but the set already has a {name} split. Set {name}_share to 0."
            )
