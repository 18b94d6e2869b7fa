"""Parsing of settings that are mappings."""

import json
import math
from collections.abc import Collection
from typing import Any

from dataset_scripts.common.own_code import names_code


def parse_objectives(name: str, value: dict[str, float] | str) -> dict[str, float]:
    """Parse losses and their weights.

    `MODULE:FUNCTION` is a loss of the user's own. It is not imported here: settings are also read from runs of others.

    Raises ValueError: an unknown loss, a weight below 0, or no weight above 0.
    """
    from trainers.objectives import OBJECTIVES  # torch, which `train --help` does without

    weights = parse_numbers(name, value, OBJECTIVES, default="1", code=True)
    if not any(weights.values()):
        raise ValueError(f"{name} is {value!r}; give at least one loss a weight above 0, such as sdm=1")
    return weights


def parse_numbers(
    name: str,
    value: dict[str, float] | dict[str, str] | str,
    known: Collection[str],
    *,
    most: float = math.inf,
    default: str = "",
    code: bool = False,
) -> dict[str, float]:
    """Parse numbers by name, from a mapping, JSON, or `"sdm=1,id"`.

    Args:
        name: of the setting.
        value: what the user wrote.
        known: the names it takes.
        most: the largest number; the smallest is 0.
        default: stands for the number of a bare name.

    Args:
        name: of the setting.
        value: its value.
        known: names that it takes.
        most: the greatest number.
        default: of a bare name.
        code: whether it takes names such as MODULE:FUNCTION, too.

    Raises ValueError: a name that is not `known`, or a number out of range.
    """
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        pairs = [part.partition("=") for part in value.replace(" ", "").split(",") if part]
        value = {key: number or default for key, _, number in pairs}
    numbers = parse_json_dict(name, value)
    for key, number in numbers.items():
        if key not in known and not (code and names_code(key)):
            own = " and functions of your own, MODULE:FUNCTION" if code else ""
            raise ValueError(f"{name} names {key!r}; it takes {', '.join(known)}{own}")
        try:
            numbers[key] = float(number)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} gives {key} the value {number!r}; it must be a number") from error
        if not (math.isfinite(numbers[key]) and 0 <= numbers[key] <= most):
            rule = "0 or more" if most == math.inf else f"from 0 to {most:g}"
            raise ValueError(f"{name} gives {key} the value {number!r}; it must be {rule}")
    return numbers


def parse_json_dict(name: str, value: dict[str, Any] | str) -> dict[str, Any]:
    """Parse a mapping or JSON; raise a ValueError for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"{name} is {value!r}, which is not JSON ({error.msg}); write it like {{}}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r}; it must be a mapping")
    return dict(value)


__all__ = ["parse_json_dict", "parse_numbers", "parse_objectives"]
