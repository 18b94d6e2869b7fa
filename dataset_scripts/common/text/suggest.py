"""Suggestions for misspelt names."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean", "nearest_name"]


def nearest_name(name: str, names: Iterable[str], cutoff: float = 0.4) -> str | None:
    """Return the most similar name, ignoring case; None below `cutoff` (0-1)."""
    lowered = {known.lower(): known for known in names}
    near = get_close_matches(name.lower(), lowered, n=1, cutoff=cutoff)
    return lowered[near[0]] if near else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return `" Did you mean 'NAME'?"` for the nearest name, or ""."""
    near = nearest_name(name, names)
    return f" Did you mean {near!r}?" if near else ""
