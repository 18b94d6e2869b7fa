"""A person as a transparent layer, with boxes of the visible parts."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from dataset_scripts.synthetic.attributes import PersonAttributes
from dataset_scripts.synthetic.figure.belongings import draw_bag, draw_bag_behind, draw_held
from dataset_scripts.synthetic.figure.body import VIEWS, make_body
from dataset_scripts.synthetic.figure.garments import draw_far_arm, draw_legs, draw_near_arms, draw_trunk
from dataset_scripts.synthetic.figure.head import draw_hair_behind, draw_head
from dataset_scripts.synthetic.figure.pen import Box, Pen

__all__ = ["VIEWS", "Figure", "draw_figure", "visible_parts"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn person."""

    layer: Image.Image  # RGBA picture, transparent where the person is not
    parts: Mapping[str, Box]  # part name -> (left, top, right, bottom) in pixels; a part that the view hides is absent


def draw_figure(
    size: tuple[int, int],
    look: PersonAttributes,
    rng: random.Random,
    *,
    centre_x: float,
    top: float,
    height: float,
    view: str,
    stride: float = 1.0,
    colour_spread: float = 10.0,
) -> Figure:
    """Draw one person from behind to front.

    Args:
        size: width and height of the layer in pixels.
        look: the person's attributes.
        rng: gait phase and exact colours come from here.
        centre_x: pixel column of the body's axis.
        top: pixel row of the crown; an umbrella reaches 0.115 `height` above it.
        height: the body's height in pixels; the body may reach beyond the layer.
        view: one of `VIEWS`.
        stride: length of the stride, 0 to 1.
        colour_spread: how far colours may move from the palette, in 0 to 255.
    """
    pen = Pen(size, centre_x, top, height, mirrored=view == "left")
    body = make_body(pen, look, view, rng, stride, colour_spread)
    for draw in (
        draw_bag_behind,
        draw_hair_behind,
        draw_legs,
        draw_far_arm,
        draw_trunk,
        draw_near_arms,
        draw_bag,
        draw_head,
        draw_held,
    ):
        draw(body)
    return Figure(pen.layer, body.parts)


def _overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def visible_parts(
    parts: Mapping[str, Box], frame: Box, occluder: Box | None = None, share: float = 0.6
) -> frozenset[str]:
    """Name parts with at least `share` inside the frame, outside the occluder.

    Args:
        parts: part name -> box in pixels.
        frame: the picture's box in pixels.
        occluder: the box of what stands before the person, inside the frame.
        share: the least visible share of a part's box, 0 to 1.
    """
    seen = []
    for name, box in parts.items():
        area = (box[2] - box[0]) * (box[3] - box[1])
        shown = _overlap(box, frame) - (0.0 if occluder is None else _overlap(box, occluder))
        if shown >= share * area:
            seen.append(name)
    return frozenset(seen)
