"""Drawing in body heights: x from the axis, y below the crown."""

import random
from collections.abc import Sequence

from PIL import Image, ImageDraw

from dataset_scripts.synthetic.attributes import Colour

__all__ = ["Box", "Pen", "Point", "jitter", "lighten", "shade"]

Box = tuple[float, float, float, float]
Point = tuple[float, float]


def jitter(colour: Colour, rng: random.Random, spread: float) -> Colour:
    """Move brightness by up to `spread`, channels by 0.4 `spread`, within 0-255."""
    shift = rng.uniform(-spread, spread)
    red, green, blue = (
        int(min(255, max(0, channel + shift + rng.uniform(-spread, spread) * 0.4))) for channel in colour
    )
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    """Darken (`factor` below 1) or lighten (above 1) a colour, within 0-255."""
    red, green, blue = (min(255, int(channel * factor)) for channel in colour)
    return red, green, blue


def lighten(colour: Colour, amount: int) -> Colour:
    """The colour with `amount` added to each channel, at most 255."""
    red, green, blue = (min(255, channel + amount) for channel in colour)
    return red, green, blue


class Pen:
    """Draw one body on a transparent layer.

    Args:
        size: width and height of the layer in pixels.
        centre_x: pixel column of the body's axis.
        top: pixel row of the crown; may lie outside the layer.
        height: the body's height in pixels.
        mirrored: draws x to the left instead of to the right.
    """

    def __init__(self, size: tuple[int, int], centre_x: float, top: float, height: float, mirrored: bool = False):
        self.layer = Image.new("RGBA", size, (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.layer)
        self._centre_x = centre_x
        self._top = top
        self._height = height
        self._across = -height if mirrored else height

    def point(self, x: float, y: float) -> Point:
        """Body coordinates to pixels."""
        return self._centre_x + x * self._across, self._top + y * self._height

    def box(self, x0: float, y0: float, x1: float, y1: float) -> Box:
        """Convert a body box (y0 <= y1) to pixels: left, top, right, bottom."""
        a = self._centre_x + x0 * self._across
        b = self._centre_x + x1 * self._across
        top, bottom = self._top + y0 * self._height, self._top + y1 * self._height
        return (a, top, b, bottom) if a <= b else (b, top, a, bottom)

    def _width(self, width: float, at_least: int = 1) -> int:
        return max(at_least, round(width * self._height))

    def polygon(self, points: Sequence[Point], fill: Colour, outline: Colour | None = None) -> None:
        """A filled polygon."""
        self._draw.polygon([self.point(x, y) for x, y in points], fill=fill, outline=outline)

    def ellipse(self, box: Box, fill: Colour) -> None:
        """A filled ellipse inside a box."""
        self._draw.ellipse(self.box(*box), fill=fill)

    def disc(self, centre: Point, radius: float, fill: Colour) -> None:
        """A filled circle."""
        x, y = centre
        self._draw.ellipse(self.box(x - radius, y - radius, x + radius, y + radius), fill=fill)

    def dome(self, box: Box, fill: Colour, outline: Colour | None = None) -> None:
        """The upper half of an ellipse."""
        self._draw.pieslice(self.box(*box), 180, 360, fill=fill, outline=outline)

    def arc(self, box: Box, colour: Colour, width: float) -> None:
        """The upper half of an ellipse's outline."""
        self._draw.arc(self.box(*box), 180, 360, fill=colour, width=self._width(width, 2))

    def rectangle(self, box: Box, fill: Colour) -> None:
        """A filled rectangle."""
        self._draw.rectangle(self.box(*box), fill=fill)

    def rounded(self, box: Box, radius: float, fill: Colour, outline: Colour | None = None) -> None:
        """A filled rectangle with round corners."""
        self._draw.rounded_rectangle(self.box(*box), radius=radius * self._height, fill=fill, outline=outline)

    def stroke(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """A line of the given width, at least one pixel."""
        self._draw.line([self.point(x, y) for x, y in points], fill=colour, width=self._width(width))

    def limb(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """A thick line with round joints and ends."""
        self.stroke(points, width, colour)
        for joint in points:
            self.disc(joint, width / 2, colour)
