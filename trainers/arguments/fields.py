"""A setting's field: default, help, rule, and whether a resumed run may change it."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Rule", "resumable", "setting"]


@dataclass(frozen=True)
class Rule:
    """What a setting may be, beside its type.

    Args:
        low: the least number.
        high: the greatest number.
        above: a limit that the number must exceed.
        below: a limit that the number must not reach.
        choices: the allowed texts; empty allows any.
        resumable: whether a run may go on under another value: it changes neither data nor weights.
    """

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    choices: tuple[str, ...] = ()
    resumable: bool = False

    def allows(self, number: float) -> bool:
        """Whether a number is within the limits; one that is not finite never is."""
        return math.isfinite(number) and self.low <= number <= self.high and self.above < number < self.below

    def words(self) -> str:
        """The limits, as in "it must be ..."."""
        limits = (
            (self.low, "at least"),
            (self.above, "above"),
            (self.high, "at most"),
            (self.below, "below"),
        )
        return " and ".join(f"{word} {limit:.10g}" for limit, word in limits if math.isfinite(limit)) or "finite"


def setting(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    default_factory: Callable[[], Any] | Any = dataclasses.MISSING,
    **rule: Any,
) -> Any:
    """A field of the settings; `rule` are the arguments of [`Rule`]."""
    return dataclasses.field(
        default=default, default_factory=default_factory, metadata={"help": help, "rule": Rule(**rule)}
    )


def resumable(settings: type) -> frozenset[str]:
    """Names of the settings that a run may go on under, whatever they were."""
    return frozenset(each.name for each in dataclasses.fields(settings) if each.metadata["rule"].resumable)
