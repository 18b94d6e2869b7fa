"""Plain things of the catalogue that are not people: shapes and a few everyday objects."""

import math
import random
from collections.abc import Callable

from PIL import ImageDraw

from dataset_scripts.synthetic.attributes import PALETTE, Colour
from dataset_scripts.synthetic.figure.pen import jitter, shade
from dataset_scripts.synthetic.words.lexicon import colour_word

__all__ = ["draw_objects"]

Draw = ImageDraw.ImageDraw


def _circle(draw: Draw, x: float, y: float, r: float, colour: Colour) -> None:
    draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def _square(draw: Draw, x: float, y: float, r: float, colour: Colour) -> None:
    draw.rectangle((x - r, y - r, x + r, y + r), fill=colour)


def _triangle(draw: Draw, x: float, y: float, r: float, colour: Colour) -> None:
    draw.polygon(((x, y - r), (x + r, y + r), (x - r, y + r)), fill=colour)


def _ring(draw: Draw, x: float, y: float, r: float, colour: Colour) -> None:
    draw.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=max(2, int(r * 0.35)))


def _star(draw: Draw, x: float, y: float, r: float, colour: Colour) -> None:
    corners = []
    for index in range(10):
        reach, angle = r * (1 if index % 2 == 0 else 0.45), index * math.pi / 5
        corners.append((x + reach * math.sin(angle), y - reach * math.cos(angle)))
    draw.polygon(corners, fill=colour)


def _house(draw: Draw, x: float, y: float, r: float, colour: Colour) -> None:
    draw.rectangle((x - r * 0.8, y - r * 0.2, x + r * 0.8, y + r), fill=colour)
    draw.polygon(((x - r, y - r * 0.2), (x, y - r), (x + r, y - r * 0.2)), fill=shade(colour, 0.6))
    draw.rectangle((x - r * 0.2, y + r * 0.3, x + r * 0.2, y + r), fill=shade(colour, 0.4))


def _car(draw: Draw, x: float, y: float, r: float, colour: Colour) -> None:
    draw.polygon(
        ((x - r * 0.6, y), (x - r * 0.3, y - r * 0.5), (x + r * 0.4, y - r * 0.5), (x + r * 0.7, y)), fill=colour
    )
    draw.rectangle((x - r, y, x + r, y + r * 0.4), fill=colour)
    for wheel in (x - r * 0.55, x + r * 0.55):
        draw.ellipse((wheel - r * 0.22, y + r * 0.2, wheel + r * 0.22, y + r * 0.64), fill=(30, 30, 32))


def _mug(draw: Draw, x: float, y: float, r: float, colour: Colour) -> None:
    draw.ellipse(
        (x + r * 0.2, y - r * 0.5, x + r, y + r * 0.5), outline=shade(colour, 0.8), width=max(2, int(r * 0.18))
    )
    draw.rectangle((x - r * 0.7, y - r * 0.8, x + r * 0.55, y + r * 0.8), fill=colour)


_OBJECTS: dict[str, Callable[[Draw, float, float, float, Colour], None]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "ring": _ring,
    "star": _star,
    "house": _house,
    "car": _car,
    "mug": _mug,
}


def draw_objects(draw: Draw, size: int, rng: random.Random) -> str:
    """Draws one or two objects on a square picture of `size` pixels and returns their alt text."""
    names = []
    for _ in range(rng.randint(1, 2)):
        colour, name = rng.choice(list(PALETTE)), rng.choice(list(_OBJECTS))
        r = size * rng.uniform(0.12, 0.3)
        x, y = size * rng.uniform(0.25, 0.75), size * rng.uniform(0.25, 0.75)
        _OBJECTS[name](draw, x, y, r, jitter(PALETTE[colour], rng, 8))
        names.append(f"{colour_word(rng, colour, 0.45)} {name}")
    return rng.choice((" and ", ", ")).join(names)
