"""Appearance of synthetic pedestrians: the identity behind pictures and captions."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["HAIR_COLOURS", "PALETTE", "SKIN_TONES", "Colour", "PersonAttributes", "sample_attributes"]

Colour = tuple[int, int, int]
_Choice = TypeVar("_Choice")

PALETTE: dict[str, Colour] = {
    "black": (28, 28, 32),
    "white": (236, 236, 232),
    "grey": (128, 130, 134),
    "red": (196, 36, 40),
    "blue": (44, 84, 190),
    "green": (40, 130, 66),
    "yellow": (232, 204, 48),
    "orange": (232, 126, 34),
    "purple": (122, 56, 150),
    "pink": (238, 140, 176),
    "brown": (112, 70, 40),
    "beige": (206, 184, 146),
    "navy": (28, 38, 86),
    "teal": (34, 140, 146),
}
"""Colours of clothes and things: name -> sRGB, 0 to 255."""

HAIR_COLOURS: dict[str, Colour] = {
    "black": (26, 22, 22),
    "brown": (92, 58, 34),
    "blond": (214, 176, 98),
    "grey": (160, 160, 162),
    "red": (150, 62, 28),
}
"""Colours of hair: name -> sRGB."""

SKIN_TONES: tuple[Colour, ...] = ((246, 212, 186), (228, 184, 150), (198, 148, 110), (150, 104, 72), (96, 64, 46))
"""Skin tones, sampled evenly. No caption ever names one."""

_HAIR_LENGTHS = {"short": 47, "long": 47, "bald": 6}
_HAIR_COLOUR_WEIGHTS = {"black": 35, "brown": 30, "blond": 16, "grey": 9, "red": 8}
_HATS = {None: 74, "cap": 15, "beanie": 11}
_UPPERS = {"tshirt": 22, "shirt": 14, "jacket": 18, "hoodie": 13, "coat": 10, "sweater": 10, "dress": 8, "vest": 5}
_UPPER_COLOURS = {
    "black": 14, "white": 12, "grey": 10, "red": 9, "blue": 9, "green": 7, "yellow": 5, "orange": 5, "purple": 5,
    "pink": 7, "brown": 5, "navy": 6, "teal": 4, "beige": 5,
}  # fmt: skip
_PATTERNS = {
    "tshirt": {None: 50, "stripes": 18, "logo": 22, "plaid": 10},
    "shirt": {None: 46, "stripes": 22, "plaid": 32},
    "jacket": {None: 84, "stripes": 16},
    "hoodie": {None: 66, "stripes": 8, "logo": 26},
    "coat": {None: 86, "plaid": 14},
    "sweater": {None: 56, "stripes": 32, "logo": 6, "plaid": 6},
    "dress": {None: 60, "stripes": 18, "plaid": 22},
    "vest": {None: 70, "stripes": 20, "logo": 10},
}
_PATTERN_COLOURS = ("white", "black", "red", "blue", "yellow", "green")
_INNER_COLOURS = ("white", "black", "grey", "red", "blue", "yellow")
_LOWERS = {"trousers": 38, "jeans": 30, "shorts": 18, "skirt": 14}
_LOWER_COLOURS = {
    "trousers": ("black", "grey", "brown", "beige", "navy", "white", "green", "red"),
    "jeans": ("blue", "navy", "black", "grey"),
    "shorts": ("black", "blue", "grey", "beige", "white", "red", "green"),
    "skirt": ("black", "red", "white", "pink", "grey", "navy", "purple", "yellow"),
}
_SHOE_COLOURS = {
    "black": 26, "white": 26, "brown": 12, "grey": 10, "red": 9, "blue": 7, "yellow": 4, "pink": 5,
}  # fmt: skip
_BAGS = {None: 40, "backpack": 26, "handbag": 18, "shoulderbag": 16}
_BAG_COLOURS = ("black", "red", "blue", "brown", "green", "yellow", "white", "pink", "grey")
_HAT_COLOURS = ("black", "white", "red", "blue", "green", "yellow", "grey", "pink")
_HELD = {None: 68, "phone": 13, "umbrella": 11, "cup": 8}
_HELD_COLOURS = ("red", "blue", "yellow", "black", "green", "pink", "white")
_BUILDS = ("slim", "medium", "medium", "heavy")
_GLASSES_SHARE = 0.28


@dataclass(frozen=True, slots=True)
class PersonAttributes:
    """A pedestrian's appearance: colours are keys of `PALETTE`, `None` is absent."""

    hair_length: str
    hair_colour: str
    hat: str | None
    hat_colour: str
    upper: str
    upper_colour: str
    pattern: str | None
    pattern_colour: str
    inner_colour: str
    lower: str | None
    lower_colour: str | None
    shoe_colour: str
    bag: str | None
    bag_colour: str
    glasses: bool
    held: str | None
    held_colour: str
    build: str
    skin: int


def _weighted(rng: random.Random, weights: dict[_Choice, int]) -> _Choice:
    return rng.choices(list(weights), list(weights.values()))[0]


def _other_than(rng: random.Random, colours: Sequence[str], taken: str) -> str:
    return rng.choice([colour for colour in colours if colour != taken])


def sample_attributes(rng: random.Random) -> PersonAttributes:
    """Draw one pedestrian, determined by the state of `rng`."""
    upper = _weighted(rng, _UPPERS)
    upper_colour = _weighted(rng, _UPPER_COLOURS)
    lower = None if upper == "dress" else _weighted(rng, _LOWERS)
    return PersonAttributes(
        hair_length=_weighted(rng, _HAIR_LENGTHS),
        hair_colour=_weighted(rng, _HAIR_COLOUR_WEIGHTS),
        hat=_weighted(rng, _HATS),
        hat_colour=rng.choice(_HAT_COLOURS),
        upper=upper,
        upper_colour=upper_colour,
        pattern=_weighted(rng, _PATTERNS[upper]),
        pattern_colour=_other_than(rng, _PATTERN_COLOURS, upper_colour),
        inner_colour=_other_than(rng, _INNER_COLOURS, upper_colour),
        lower=lower,
        lower_colour=None if lower is None else rng.choice(_LOWER_COLOURS[lower]),
        shoe_colour=_weighted(rng, _SHOE_COLOURS),
        bag=_weighted(rng, _BAGS),
        bag_colour=rng.choice(_BAG_COLOURS),
        glasses=rng.random() < _GLASSES_SHARE,
        held=_weighted(rng, _HELD),
        held_colour=rng.choice(_HELD_COLOURS),
        build=rng.choice(_BUILDS),
        skin=rng.randrange(len(SKIN_TONES)),
    )
