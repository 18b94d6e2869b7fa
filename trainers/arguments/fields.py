"""The field of a setting: its default, help and rule."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Alias", "Rule", "rules", "setting"]


@dataclass(frozen=True)
class Alias:
    """transformers' name of a setting.

    Args:
        name: accepted wherever settings are, and translated at once.
        values: our values by theirs, where they differ. False only counts where nothing else sets the setting.
    """

    name: str
    values: Mapping[Any, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """Allowed values of a setting, and where the setting counts.

    Args:
        low, high: smallest and largest number.
        above, below: limits that a number must not reach.
        choices: the allowed texts; empty allows any.
        resumable: a resumed run may change it, because it affects neither data nor weights.
        local: what it may name by a folder of this machine: `"model"`, `"data"` or any `"folder"`.
        published: it is published with the run; the others only concern this machine or this run.
        card: words of the run's card, `{}` being the value; see `trainers/publishing/card_recipe.py`.
        losses: that read it.
        needs: name and value of the setting without which it has no effect; `None` is any value that is on.
        experimental: it lost on our bench, see "Optional, off by default" in docs/training.md; the help says so.
        aliases: transformers' names of it. One that several settings share is for the stage that runs.
        before: what runs did before the setting existed, if not its default.
    """

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    choices: tuple[str, ...] = ()
    resumable: bool = False
    local: Literal["", "model", "data", "folder"] = ""
    published: bool = True
    card: str = ""
    losses: tuple[str, ...] = ()
    needs: tuple[str, Any] | None = None
    experimental: bool = False
    aliases: tuple[Alias, ...] = ()
    before: Any = None

    def allows(self, number: float) -> bool:
        """Tell whether a number is finite and within the limits."""
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


def rules(settings: Any) -> dict[str, Rule]:
    """The rule of each setting, by name."""
    return {each.name: each.metadata["rule"] for each in dataclasses.fields(settings)}
