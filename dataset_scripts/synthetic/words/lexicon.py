"""Words for things and colours, shared by the captions of both domains."""

import random

__all__ = ["COLOUR_WORDS", "THING_WORDS", "colour_word", "thing_word", "with_article"]

THING_WORDS: dict[str, tuple[str, ...]] = {
    "tshirt": ("t-shirt", "tee", "short-sleeved top"),
    "shirt": ("shirt", "button-up shirt", "long-sleeved shirt"),
    "jacket": ("jacket", "open jacket", "zip jacket"),
    "hoodie": ("hoodie", "hooded sweatshirt"),
    "coat": ("coat", "long coat", "overcoat"),
    "sweater": ("sweater", "pullover", "jumper"),
    "dress": ("dress", "long dress"),
    "vest": ("vest", "sleeveless top", "tank top"),
    "trousers": ("trousers", "pants", "slacks"),
    "jeans": ("jeans", "denim pants"),
    "shorts": ("shorts", "short pants"),
    "skirt": ("skirt", "knee-length skirt"),
    "shoes": ("shoes", "sneakers", "footwear"),
    "backpack": ("backpack", "rucksack", "knapsack"),
    "handbag": ("handbag", "purse", "tote bag"),
    "shoulderbag": ("shoulder bag", "messenger bag", "crossbody bag"),
    "cap": ("cap", "baseball cap"),
    "beanie": ("beanie", "knit hat", "woolly hat"),
    "glasses": ("glasses", "spectacles", "eyeglasses"),
    "phone": ("phone", "mobile phone", "cell phone"),
    "umbrella": ("umbrella",),
    "cup": ("cup", "paper cup", "coffee cup"),
}
"""Thing -> its names, the plainest first."""

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "grey": ("grey", "gray"),
    "navy": ("navy", "dark blue", "navy blue"),
    "beige": ("beige", "khaki", "tan"),
    "teal": ("teal", "turquoise"),
    "red": ("red", "red", "crimson"),
    "purple": ("purple", "violet"),
}
"""Colour -> its names, the plainest first; a colour that is not listed has only its own name."""


def _pick(rng: random.Random, words: tuple[str, ...], variety: float) -> str:
    return rng.choice(words) if rng.random() < variety else words[0]


def thing_word(rng: random.Random, thing: str, variety: float = 1.0) -> str:
    """Name a thing; `variety` is the probability of drawing among all names."""
    return _pick(rng, THING_WORDS[thing], variety)


def colour_word(rng: random.Random, colour: str, variety: float = 1.0) -> str:
    """Name a colour; `variety` is the probability of drawing among all names."""
    return _pick(rng, COLOUR_WORDS.get(colour, (colour,)), variety)


def with_article(phrase: str) -> str:
    """The phrase behind "a" or "an"."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase
