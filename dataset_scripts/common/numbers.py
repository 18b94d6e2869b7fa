"""Range checks of settings, with one wording: the name, the value got, the rule."""

import math
from numbers import Integral, Real


def check_number(
    name: str,
    value: float,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> None:
    """Refuse a setting that is not a finite number within the given bounds.

    Args:
        name: what the error calls the setting.
        value: the setting.
        above: exclusive lower bound.
        least: inclusive lower bound.
        most: inclusive upper bound.
        below: exclusive upper bound.

    Raises:
        TypeError: `value` is no real number (a bool is none).
        ValueError: `value` is not finite or out of bounds.
    """
    bounds = (("above", above), ("at least", least), ("at most", most), ("below", below))
    rule = " and ".join(f"{word} {bound:g}" for word, bound in bounds if math.isfinite(bound))
    message = f"{name} is {value!r}: it must be a finite number{' ' + rule if rule else ''}."
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(message)
    if not (math.isfinite(value) and above < value < below and least <= value <= most):
        raise ValueError(message)


def check_integer(name: str, value: int, *, least: int, most: int | None = None) -> None:
    """Refuse a setting that is not an integer of at least `least`.

    Raises:
        TypeError: `value` is no integer (a bool is none).
        ValueError: `value` is too small.
    """
    rule = f"at least {least}" if most is None else f"{least} to {most}"
    message = f"{name} is {value!r}: it must be an integer, {rule}."
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(message)
    if value < least or (most is not None and value > most):
        raise ValueError(message)
