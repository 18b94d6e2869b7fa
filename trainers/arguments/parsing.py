"""Parsing of settings that are mappings."""

import math
from collections.abc import Collection
from typing import Any

from dataset_scripts.common.own_code import names_code
from dataset_scripts.common.text.documents import parse_json
from dataset_scripts.common.text.printable import shown

MOST_WEIGHT = 1e6


def parse_objectives(name: str, value: dict[str, float] | str) -> dict[str, float]:
    """Parse losses and their weights.

    `MODULE:FUNCTION` is a loss of the user's own. It is not imported here: settings are also read from runs of others.

    Raises ValueError: an unknown loss, a weight below 0, or no weight above 0.
    """
    from trainers.objectives import OBJECTIVES  # torch, which `train --help` does without

    weights = parse_numbers(name, value, OBJECTIVES, default="1", code=True)
    if not any(weights.values()):
        raise ValueError(f"{name} is {shown(value)}; give at least one loss a weight above 0, such as sdm=1")
    return weights


def parse_numbers(
    name: str,
    value: dict[str, float] | dict[str, str] | str,
    known: Collection[str],
    *,
    most: float = MOST_WEIGHT,
    default: str = "",
    code: bool = False,
) -> dict[str, float]:
    """Parse numbers by name, from a mapping, JSON, or `"sdm=1,id"`.

    Args:
        name: of the setting.
        value: its value.
        known: names that it takes.
        most: the greatest number; the smallest is 0.
        default: of a bare name.
        code: whether it takes names such as MODULE:FUNCTION, too.

    Raises ValueError: a name that is not `known`, or a number out of range.
    """
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        pairs = [part.partition("=") for part in value.replace(" ", "").split(",") if part]
        value = {key: number or default for key, _, number in pairs}
    numbers = parse_json_dict(name, value)
    for key, number in numbers.items():
        if key not in known and not (code and isinstance(key, str) and names_code(key)):
            own = " and functions of your own, MODULE:FUNCTION" if code else ""
            raise ValueError(f"{name} names {shown(key)}; it takes {', '.join(known)}{own}")
        try:
            numbers[key] = math.nan if isinstance(number, bool) else float(number)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name} gives {key} the value {shown(number)}; it must be a number") from error
        if not 0 <= numbers[key] <= most:
            raise ValueError(f"{name} gives {key} the value {shown(number)}; it must be a number from 0 to {most:g}")
    return numbers


def parse_json_dict(name: str, value: dict[str, Any] | str) -> dict[str, Any]:
    """Parse a mapping or JSON; raise a ValueError for anything else."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError as error:
            raise ValueError(f"{name} is {shown(value)}, which is not JSON ({error}); write it like {{}}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {shown(value)}; it must be a mapping")
    return dict(value)


__all__ = ["parse_json_dict", "parse_numbers", "parse_objectives"]
