"""Suggestions for misspelt names."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean"]


def did_you_mean(got: str, names: Iterable[str]) -> str:
    """Return `" Did you mean 'NAME'?"` for the nearest name, case ignored, or ""."""
    lowered = {name.lower(): name for name in names}
    near = get_close_matches(got.lower(), lowered, n=1, cutoff=0.4)
    return f" Did you mean {lowered[near[0]]!r}?" if near else ""
