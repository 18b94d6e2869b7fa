"""Checks of settings by the types and rules of their fields."""

from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from dataset_scripts.common.text.printable import shown
from trainers.arguments.fields import Rule

__all__ = ["check_settings", "check_value"]

MOST_LETTERS = 4096  # as in a path
KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    dict: "a mapping",
    NoneType: "left out",
}


def check_settings(args: Any) -> None:
    """Check every setting by its type and rule.

    Args:
        args: a dataclass whose fields are made by [`setting`].

    Raises ValueError: naming the first setting of a wrong type, out of its range or not a choice.
    """
    types = get_type_hints(type(args))
    for each in fields(args):
        check_value(each.name, getattr(args, each.name), types[each.name], each.metadata["rule"])


def check_value(name: str, value: Any, expected: Any, rule: Rule) -> None:
    """Check one value against a type and a rule, as [`check_settings`] does."""
    if not _is_of(value, expected):
        raise ValueError(f"{name} is {shown(value)}; it must be {_words(expected)}")
    if rule.choices and value not in rule.choices:
        raise ValueError(f"{name} is {shown(value)}; it must be one of {', '.join(rule.choices)}")
    if isinstance(value, int | float) and not isinstance(value, bool) and not rule.allows(value):
        raise ValueError(f"{name} is {shown(value)}; it must be {rule.words()}")
    if isinstance(value, str) and len(value) > MOST_LETTERS:
        raise ValueError(f"{name} is {shown(value)}, of {len(value):,} characters; it must be at most {MOST_LETTERS}")


def _is_of(value: Any, expected: Any) -> bool:
    # a bool is not a number, but an int may stand for a float
    parts = get_args(expected)
    if expected is Any:
        return True
    if get_origin(expected) is UnionType:
        return any(_is_of(value, part) for part in parts)
    if get_origin(expected) is list:
        return isinstance(value, list) and all(_is_of(item, parts[0]) for item in value)
    if get_origin(expected) is dict:
        return isinstance(value, dict) and all(
            _is_of(key, parts[0]) and _is_of(item, parts[1]) for key, item in value.items()
        )
    if expected in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, int | float if expected is float else expected)


def _words(expected: Any) -> str:
    if get_origin(expected) is UnionType:
        return " or ".join(_words(part) for part in get_args(expected))
    if get_origin(expected) is list:
        return f"a list, each item {KINDS[get_args(expected)[0]]}"
    return KINDS[get_origin(expected) or expected]
