"""Splits for sets that have none: whole persons are drawn by a seed, so that no person is in two splits."""

import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from dataset_scripts.records import PersonSearchRecord

__all__ = ["carve_splits", "drawn_persons"]

_logger = logging.getLogger(__name__)


def carve_splits(
    records: Sequence[PersonSearchRecord], *, validation_share: float, test_share: float, seed: int
) -> list[PersonSearchRecord]:
    """Moves a share of the training persons to the validation and to the test split.

    Records without a split count as training. Persons are put in the order of a hash of the seed and their id, and
    the first go to validation, the next to test: the result hangs on the set of person ids, the shares and the seed
    alone, not on the order of rows or the version of a library. A share above 0 moves at least one person, and at
    least one stays. A warning in the log says what was moved.

    Args:
        records: the set.
        validation_share: share of the training persons, in [0, 1).
        test_share: likewise.
        seed: 0 or greater.

    Returns:
        All records in their order, each with a split.

    Raises:
        ValueError: a share or seed is out of range, the set has that split already, or has too few persons.
    """
    _check_options(validation_share, test_share, seed)
    records = [record if record.split else replace(record, split="train") for record in records]
    _check_missing({record.split for record in records}, validation_share, test_share)
    persons = sorted({record.person_id for record in records if record.split == "train"})
    try:
        validation, test = drawn_persons(len(persons), validation_share, test_share)
    except ValueError as error:
        place = f"{records[0].file}: " if records else ""
        raise ValueError(f"{place}{error}") from error
    if not validation + test:
        return records
    persons.sort(key=lambda person: hashlib.sha256(f"{seed}/{person}".encode()).digest())
    moved = dict.fromkeys(persons[:validation], "validation")
    moved |= dict.fromkeys(persons[validation : validation + test], "test")
    _logger.warning(
        "%s: splits were made here, not by its authors: of %d training persons, %d went to validation and %d to test, "
        "drawn by split_seed %d. Compare results only with runs that use the same.",
        records[0].file,
        len(persons),
        validation,
        test,
        seed,
    )
    return [
        replace(record, split=moved[record.person_id])
        if record.split == "train" and record.person_id in moved
        else record
        for record in records
    ]


def drawn_persons(persons: int, validation_share: float, test_share: float) -> tuple[int, int]:
    """Returns how many of `persons` go to validation and to test: at least one each, where the share is not 0.

    Raises ValueError where nobody is left to train on.
    """
    validation, test = (max(1, round(share * persons)) if share else 0 for share in (validation_share, test_share))
    if validation + test and validation + test >= persons:
        raise ValueError(
            f"validation_share {validation_share} and test_share {test_share} of {persons} training person(s) "
            "leave nobody to train on. Lower them, or set them to 0."
        )
    return validation, test


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
