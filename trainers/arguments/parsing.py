"""Settings that are mappings, from YAML, JSON or `name=number` on the command line."""

import json
import math
from collections.abc import Collection
from typing import Any


def parse_objectives(name: str, value: dict[str, float] | str) -> dict[str, float]:
    """Losses and their weights, from a mapping, JSON, or `"sdm=1,id=0.5"`.

    Raises:
        ValueError: an unknown loss, a weight that is not a number of 0 or more, or no weight above 0.
    """
    from trainers.objectives import OBJECTIVES  # torch, which `train --help` does without

    weights = parse_numbers(name, value, OBJECTIVES, default="1")
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
) -> dict[str, float]:
    """Numbers from 0 to `most` by name, from a mapping, JSON, or `"sdm=1,id"`, where a bare name has the `default`.

    Raises:
        ValueError: a name that is not `known`, or a number out of range.
    """
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        pairs = [part.partition("=") for part in value.replace(" ", "").split(",") if part]
        value = {key: number or default for key, _, number in pairs}
    numbers = parse_json_dict(name, value)
    for key, number in numbers.items():
        if key not in known:
            raise ValueError(f"{name} names {key!r}; it takes {', '.join(known)}")
        try:
            numbers[key] = float(number)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} gives {key} the value {number!r}; it must be a number") from error
        if not (math.isfinite(numbers[key]) and 0 <= numbers[key] <= most):
            rule = "0 or more" if most == math.inf else f"from 0 to {most:g}"
            raise ValueError(f"{name} gives {key} the value {number!r}; it must be {rule}")
    return numbers


def parse_json_dict(name: str, value: dict[str, Any] | str) -> dict[str, Any]:
    """A dictionary, given as one or as JSON.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"{name} is {value!r}, which is not JSON ({error.msg}); write it like {{}}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r}; it must be a mapping")
    return dict(value)


__all__ = ["parse_json_dict", "parse_numbers", "parse_objectives"]
