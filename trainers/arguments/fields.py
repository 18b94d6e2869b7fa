"""The field of a setting: its default, help and rule."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Alias", "Rule", "rules", "setting"]


@dataclass(frozen=True)
class Alias:
    """transformers' name of a setting."""

    name: str  # accepted wherever settings are, and translated at once
    # our values by theirs, where they differ. False only counts where nothing else sets the setting
    values: Mapping[Any, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """Allowed values of a setting, and where the setting counts."""

    low: float = -math.inf  # low, high: smallest and largest number
    high: float = math.inf
    above: float = -math.inf  # above, below: limits that a number must not reach
    below: float = math.inf
    choices: tuple[str, ...] = ()  # the allowed texts; empty allows any
    resumable: bool = False  # a resumed run may change it, because it affects neither data nor weights
    # what it may name by a folder of this machine: `"model"`, `"data"` or any `"folder"`
    local: Literal["", "model", "data", "folder"] = ""
    published: bool = True  # it is published with the run; the others only concern this machine or this run
    card: str = ""  # words of the run's card, `{}` being the value; see `trainers/publishing/card_recipe.py`
    losses: tuple[str, ...] = ()  # that read it
    # name and value of the setting without which it has no effect; `None` is any value that is on
    needs: tuple[str, Any] | None = None
    # it lost on our bench, see "Optional, off by default" in docs/training.md; the help says so
    experimental: bool = False
    # transformers' names of it. One that several settings share is for the stage that runs
    aliases: tuple[Alias, ...] = ()
    before: Any = None  # what runs did before the setting existed, if not its default

    def allows(self, number: float) -> bool:
        """Tell whether a number is finite and within the limits."""
        # finite comes last: an int may be too large to become a float
        return self.low <= number <= self.high and self.above < number < self.below and math.isfinite(number)

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


def rules(settings: Any) -> dict[str, Rule]:
    """The rule of each setting, by name."""
    return {each.name: each.metadata["rule"] for each in dataclasses.fields(settings)}
