"""Reads captions back: which parts of a person a sentence names, and with which colours."""

import re
from collections.abc import Callable

import pytest

from dataset_scripts.synthetic.words.lexicon import COLOUR_WORDS, THING_WORDS

_PART_OF = {
    **dict.fromkeys(("tshirt", "shirt", "jacket", "hoodie", "coat", "sweater", "dress", "vest"), "upper"),
    **dict.fromkeys(("trousers", "jeans", "shorts", "skirt"), "lower"),
    **dict.fromkeys(("backpack", "handbag", "shoulderbag"), "bag"),
    **dict.fromkeys(("cap", "beanie"), "hat"),
    **dict.fromkeys(("phone", "umbrella", "cup"), "held"),
    "shoes": "shoes",
    "glasses": "glasses",
}
_THING_OF_WORD = {word: thing for thing, words in THING_WORDS.items() for word in words}
_THINGS = re.compile(
    r"(?<![\w-])(" + "|".join(sorted(map(re.escape, _THING_OF_WORD), key=len, reverse=True)) + r")(?![\w-])"
)
_OTHER_SIGNS = {
    "pattern": re.compile(r"\b(striped|stripes|plaid|checkered|logo|print)\b"),
    "inner": re.compile(r"\bover an? "),
    "hair": re.compile(r"\b(hair|head)\b"),
}


def _mentions(caption: str) -> dict[str, tuple[str, str]]:
    """Part -> (thing, the two words before it) for everything that a caption names."""
    found = {}
    for match in _THINGS.finditer(caption):
        thing = _THING_OF_WORD[match[0]]
        found[_PART_OF[thing]] = (thing, caption[: match.start()])
    for part, sign in _OTHER_SIGNS.items():
        if sign.search(caption):
            found[part] = (part, caption)
    return found


@pytest.fixture(scope="session")
def mentions() -> Callable[[str], dict[str, tuple[str, str]]]:
    """The function caption -> {part: (thing, text before it)}."""
    return _mentions


@pytest.fixture(scope="session")
def ends_with_colour() -> Callable[[str, str], bool]:
    """Whether a text ends with a name of a colour and with no longer name of another colour."""

    def check(text: str, colour: str) -> bool:
        names = {name: key for key, words in COLOUR_WORDS.items() for name in words}
        plain = "black white blue green yellow orange pink brown".split()
        names.update({name: name for name in plain})
        matching = [name for name in names if text.rstrip().endswith(name)]
        return bool(matching) and names[max(matching, key=len)] == colour

    return check
