"""Captions that are not a sentence about a person: code, markup, addresses, another script."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

__all__ = ["CaptionScripts", "ForeignCaptions", "odd_part"]

# Nearly all captions have none of these signs, and need no other look.
_SIGNS = re.compile(r"[<>{}\[\]()@=\\|`_*#]|://|www\.|\.(?:jpe?g|png|gif|txt|json|csv)\b", re.IGNORECASE)
_PARTS = {
    "an address": re.compile(r"\b(?:[a-z]{3,6}://|www\.\w)\S*|\b[\w.+-]+@\w[\w-]*\.\w+", re.IGNORECASE),
    "a file name": re.compile(r"\S+\.(?:jpe?g|png|gif|txt|json|csv)\b", re.IGNORECASE),
    "markup": re.compile(r"</?[a-z!][^<>]{0,99}>|\]\(\S|`{3}|\*\*\w|<\|\w+\|>|^#{1,6} ", re.IGNORECASE),
    "code": re.compile(
        r"\b\w+\((?:\w+(?:, ?\w+)*)?\) ?[:{]|\b\w+\(\)|\w\[[^\[\]]*\]|[{}]|[=!]=|[-=]>|\w = \w|\\[nrtux]|\$\(|::"
    ),
}
# Japanese and Korean are written in several of them.
_ONE_SCRIPT = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "HANGUL": "CJK"}
_LETTERS_READ = 1000
_EXAMPLES_KEPT = 5


def odd_part(caption: str) -> str:
    """Say what part of a caption is code, markup, an address or a file name; "" for plain text.

    >>> odd_part("A <b>man</b> in a red coat")
    'markup: <b>'
    """
    if not _SIGNS.search(caption):
        return ""
    for what, part in _PARTS.items():
        if found := part.search(caption):
            return f"{what}: {found[0]}"
    return ""


class ForeignCaptions(NamedTuple):
    """Captions with letters of another script than most of the set."""

    main: str  # the script of most captions
    total: int
    examples: list[tuple[int, str, str]]  # row, caption, its scripts


class CaptionScripts:
    """Count the scripts of captions, in the memory of a few examples."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._examples: dict[tuple[str, ...], list[tuple[int, str, str]]] = {}

    def add(self, row: int, captions: Sequence[str]) -> None:
        """Add the captions of a row."""
        for caption in captions:
            scripts = ("LATIN",) if caption.isascii() else _scripts(caption)
            if not scripts:
                continue
            self._counts[scripts] += 1
            kept = self._examples.setdefault(scripts, [])
            if len(kept) < _EXAMPLES_KEPT:
                kept.append((row, caption, " and ".join(_title(script) for script in scripts)))

    def finish(self) -> ForeignCaptions | None:
        """Return the captions of another script; None if there are none.

        Latin words within captions of another script, such as brands, are no fault.
        """
        mains: Counter[str] = Counter()
        for scripts, count in self._counts.items():
            mains[scripts[0]] += count
        if not mains:
            return None
        main = mains.most_common(1)[0][0]
        foreign = [scripts for scripts in self._counts if scripts[0] != main or set(scripts) - {main, "LATIN"}]
        examples = [example for scripts in foreign for example in self._examples[scripts]]
        count = sum(self._counts[scripts] for scripts in foreign)
        return ForeignCaptions(_title(main), count, sorted(examples)[:_EXAMPLES_KEPT]) if count else None


def _title(script: str) -> str:
    return "Chinese, Japanese or Korean" if script == "CJK" else script.capitalize()


def _scripts(text: str) -> tuple[str, ...]:
    """Scripts of the letters, the commonest first."""
    counts = Counter(filter(None, map(_script, text[:_LETTERS_READ])))
    return tuple(sorted(counts, key=lambda script: (-counts[script], script)))


@lru_cache(maxsize=1 << 14)
def _script(sign: str) -> str:
    """The script of a letter, by its Unicode name; "" for other signs."""
    if not sign.isalpha():
        return ""
    words = unicodedata.name(sign, "").split()
    if words[:1] in (["FULLWIDTH"], ["HALFWIDTH"]):
        words = words[1:]
    if not words or not ({"LETTER", "SYLLABLE"} & set(words) or words[0] == "CJK") or words[0] == "MODIFIER":
        return ""
    return _ONE_SCRIPT.get(words[0], words[0])
