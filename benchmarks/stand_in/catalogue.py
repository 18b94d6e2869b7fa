"""The source domain: catalogue pictures on plain grounds with alt texts, for the pretraining of the stand-in CLIP."""

import random
from collections.abc import Callable
from dataclasses import replace

from PIL import Image, ImageDraw

from dataset_scripts.synthetic.attributes import Colour, PersonAttributes, sample_attributes
from dataset_scripts.synthetic.figure.figure import draw_figure, visible_parts
from dataset_scripts.synthetic.figure.pen import jitter
from dataset_scripts.synthetic.words.lexicon import with_article

from .alt_text import describe_outfit, describe_parts, list_items, with_tail
from .objects import draw_objects

__all__ = ["CATALOGUE_SIZE", "render_catalogue_item"]

CATALOGUE_SIZE = 96
"""Width and height of every catalogue picture in pixels."""

_CANVAS = CATALOGUE_SIZE * 3 // 2
_PASTELS = (
    (255, 255, 255), (250, 250, 246), (240, 238, 232), (226, 236, 248), (250, 230, 230), (232, 246, 230),
    (252, 244, 214), (236, 228, 248),
)  # fmt: skip
_VIVIDS = ((250, 200, 60), (90, 190, 240), (250, 120, 110), (120, 210, 140), (180, 150, 240), (40, 44, 60))
_RAMP = Image.linear_gradient("L").resize((_CANVAS, _CANVAS))
_PERSON_SHARE, _PRODUCT_SHARE = 0.65, 0.23
_VIEW_WEIGHTS = {"front": 64, "back": 14, "left": 11, "right": 11}

# Where a product sits on the body (x and y in body heights) and how tall, in pictures, the body must be to fill one.
_PRODUCTS = {
    "upper": (0.0, 0.35, 2.1),
    "lower": (0.0, 0.72, 1.8),
    "shoes": (0.0, 0.955, 3.2),
    "hat": (0.0, 0.04, 3.4),
    "umbrella": (0.09, 0.05, 1.7),
    "backpack": (0.0, 0.30, 2.2),
    "handbag": (-0.13, 0.53, 2.8),
    "shoulderbag": (0.09, 0.45, 2.6),
}


def _ground(rng: random.Random) -> Image.Image:
    """A plain or a vertically shaded ground."""
    form = rng.random()
    if form < 0.5:
        return Image.new("RGB", (_CANVAS, _CANVAS), jitter(rng.choice(_PASTELS), rng, 4))
    if form < 0.7:
        return Image.new("RGB", (_CANVAS, _CANVAS), jitter(rng.choice(_VIVIDS), rng, 10))
    upper: Colour = rng.choice(_PASTELS + _VIVIDS)
    lower: Colour = rng.choice(_PASTELS)
    above, below = (Image.new("RGB", (_CANVAS, _CANVAS), colour) for colour in (upper, lower))
    return Image.composite(below, above, _RAMP)


def _place_person(look: PersonAttributes, rng: random.Random) -> tuple[float, float]:
    """Top and height in pixels of a full figure, a portrait or a picture of the legs."""
    form = rng.random()
    if form < 0.64:
        height = _CANVAS * rng.uniform(0.62, 0.95)
        top = (_CANVAS - height) * rng.uniform(0.3, 0.75)
        return (top + 0.06 * height if look.held == "umbrella" else top), height
    if form < 0.88:
        height = _CANVAS * rng.uniform(1.2, 1.8)
        return _CANVAS * rng.uniform(0.04, 0.12) + (0.1 * height if look.held == "umbrella" else 0), height
    height = _CANVAS * rng.uniform(1.4, 1.9)
    return _CANVAS * 0.97 - height, height


def _draw_person(image: Image.Image, rng: random.Random) -> str:
    """A person, whole or cropped; returns the alt text."""
    look = sample_attributes(rng)
    top, height = _place_person(look, rng)
    figure = draw_figure(
        image.size,
        look,
        rng,
        centre_x=_CANVAS * rng.uniform(0.4, 0.6),
        top=top,
        height=height,
        view=rng.choices(list(_VIEW_WEIGHTS), list(_VIEW_WEIGHTS.values()))[0],
        stride=rng.choice((0.2, 0.6, 1.0)),
        colour_spread=8,
    )
    image.paste(figure.layer, (0, 0), figure.layer)
    visible = visible_parts(figure.parts, (0, 0, _CANVAS, _CANVAS))
    return describe_outfit(look, visible, rng) if rng.random() < 0.5 else list_items(look, visible, rng)


def _product_look(product: str, rng: random.Random) -> PersonAttributes:
    """A mannequin that wears the product, with nothing before it."""
    look = sample_attributes(rng)
    if product == "held":
        return replace(look, held="umbrella")
    look = replace(look, held=None)
    if product == "upper":
        return replace(look, bag=None)
    if product == "bag":
        return replace(look, bag=look.bag or rng.choice(("backpack", "handbag", "shoulderbag")))
    if product == "hat":
        return replace(look, hat=look.hat or rng.choice(("cap", "beanie")))
    if product == "lower":
        lower, colour = look.lower or "trousers", look.lower_colour or "black"
        return replace(look, upper="tshirt", pattern=None, lower=lower, lower_colour=colour)
    return look


def _draw_product(image: Image.Image, rng: random.Random) -> str:
    """One item enlarged; returns its title."""
    product = rng.choice(("upper", "upper", "lower", "shoes", "bag", "hat", "held"))
    look = _product_look(product, rng)
    kind = {"bag": look.bag, "held": look.held}.get(product, product)
    x, y, scale = _PRODUCTS[kind]
    height = _CANVAS * scale * rng.uniform(0.9, 1.1)
    figure = draw_figure(
        image.size,
        look,
        rng,
        centre_x=_CANVAS * rng.uniform(0.46, 0.54) - x * height,
        top=_CANVAS * 0.5 - y * height,
        height=height,
        view="back" if kind == "backpack" else "front",
        stride=0.1,
        colour_spread=8,
    )
    image.paste(figure.layer, (0, 0), figure.layer)
    visible = {product} | ({"pattern", "inner"} & set(figure.parts) if product == "upper" else set())
    title = describe_parts(look, visible, rng)[0]
    return f"photo of {with_article(title)}" if rng.random() < 0.2 else title


def _draw_things(image: Image.Image, rng: random.Random) -> str:
    """Shapes and objects; returns their names."""
    return draw_objects(ImageDraw.Draw(image), _CANVAS, rng)


def _choose_subject(rng: random.Random) -> Callable[[Image.Image, random.Random], str]:
    form = rng.random()
    if form < _PERSON_SHARE:
        return _draw_person
    return _draw_product if form < _PERSON_SHARE + _PRODUCT_SHARE else _draw_things


def render_catalogue_item(rng: random.Random) -> tuple[Image.Image, str]:
    """One catalogue picture (RGB, 96 x 96) with its alt text, which for a few pictures says nothing about them."""
    image = _ground(rng)
    caption = with_tail(_choose_subject(rng)(image, rng), rng)
    small = image.resize((CATALOGUE_SIZE, CATALOGUE_SIZE), Image.Resampling.BILINEAR)
    gain = rng.uniform(0.92, 1.06)
    return small.point([min(255, int(level * gain)) for level in range(256)] * 3), caption
