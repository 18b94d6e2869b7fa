"""Range checks of numeric settings, with common wording."""

import math
from numbers import Integral, Real

from dataset_scripts.common.text.printable import shown


def check_number(
    name: str,
    value: float,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> None:
    """Raise an error unless `value` is a finite number within the bounds.

    Args:
        name: what the error calls the setting.
        value: the setting.
        above, below: exclusive bounds.
        least, most: inclusive bounds.

    Raises:
        TypeError: `value` is not a real number (bool is refused).
        ValueError: `value` is not finite or out of bounds.
    """
    bounds = (("above", above), ("at least", least), ("at most", most), ("below", below))
    rule = " and ".join(f"{word} {bound:g}" for word, bound in bounds if math.isfinite(bound))
    message = f"{name} is {shown(value)}: it must be a finite number{' ' + rule if rule else ''}."
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(message)
    try:
        finite = math.isfinite(value)
    except OverflowError:  # an int that no float holds
        finite = False
    if not (finite and above < value < below and least <= value <= most):
        raise ValueError(message)


def check_integer(name: str, value: int, *, least: int, most: int | None = None) -> None:
    """Raise an error unless `value` is an integer from `least` to `most`.

    Raises:
        TypeError: `value` is not an integer (bool is refused).
        ValueError: `value` is out of range.
    """
    rule = f"at least {least}" if most is None else f"{least} to {most}"
    message = f"{name} is {shown(value)}: it must be an integer, {rule}."
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(message)
    if value < least or (most is not None and value > most):
        raise ValueError(message)
