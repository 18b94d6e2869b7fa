"""Bags and the things that a hand holds."""

from dataset_scripts.synthetic.figure.body import SHOULDER_Y, WRIST_Y, Body
from dataset_scripts.synthetic.figure.pen import shade

__all__ = ["draw_bag", "draw_bag_behind", "draw_held"]

_METAL, _PHONE, _SCREEN, _PAPER, _SLEEVE = (60, 60, 60), (16, 16, 18), (150, 190, 220), (250, 250, 246), (120, 76, 40)


def draw_bag_behind(body: Body) -> None:
    """Draw a side-view backpack, called before the trunk is drawn; report "bag"."""
    if body.look.bag == "backpack" and body.sideways:
        colour = body.colours["bag"]
        body.pen.rounded((-0.205 * body.girth, 0.19, -0.04, 0.42), 0.03, colour, shade(colour, 0.72))
        body.show("bag", -0.205 * body.girth, 0.19, -0.06, 0.42)


def _draw_backpack(body: Body) -> None:
    pen, girth, colour = body.pen, body.girth, body.colours["bag"]
    if body.view == "back":
        pen.rounded((-0.088 * girth, 0.175, 0.088 * girth, 0.425), 0.035, colour, shade(colour, 0.6))
        pen.rounded((-0.06 * girth, 0.315, 0.06 * girth, 0.40), 0.02, shade(colour, 0.78))
        body.show("bag", -0.088 * girth, 0.175, 0.088 * girth, 0.425)
    elif body.view == "front":
        for x in (-0.072 * girth, 0.072 * girth):
            pen.stroke(((x, SHOULDER_Y), (x * 1.05, 0.37)), 0.03, colour)
        body.show("bag", -0.08 * girth, SHOULDER_Y, 0.08 * girth, 0.37)
    else:
        pen.stroke(((0.035, SHOULDER_Y), (0.0, 0.37)), 0.026, colour)


def _draw_shoulder_bag(body: Body) -> None:
    pen, colour = body.pen, body.colours["bag"]
    side = -1 if body.view == "back" else 1
    if body.sideways:
        x = -0.02
        pen.stroke(((0.02, SHOULDER_Y), (x, 0.44)), 0.02, shade(colour, 0.8))
    else:
        x = 0.105 * body.girth * side
        pen.stroke(((-0.08 * body.girth * side, SHOULDER_Y), (x, 0.44)), 0.022, shade(colour, 0.8))
    pen.rounded((x - 0.066, 0.415, x + 0.066, 0.525), 0.015, colour, shade(colour, 0.6))
    body.show("bag", x - 0.066, 0.415, x + 0.066, 0.525)


def _draw_handbag(body: Body) -> None:
    pen, colour = body.pen, body.colours["bag"]
    if body.sideways:
        x = body.pose.hands[1][0] if body.look.held is None else -0.06
    else:
        x = -body.shoulder * 1.12
    pen.arc((x - 0.04, WRIST_Y - 0.02, x + 0.04, WRIST_Y + 0.11), shade(colour, 0.6), 0.014)
    top, bottom = WRIST_Y + 0.045, WRIST_Y + 0.15
    corners = ((x - 0.05, top), (x + 0.05, top), (x + 0.068, bottom), (x - 0.068, bottom))
    pen.polygon(corners, colour, shade(colour, 0.6))
    body.show("bag", x - 0.068, top, x + 0.068, bottom)


def draw_bag(body: Body) -> None:
    """Draw the part of a bag in front of the trunk; report "bag"."""
    if body.look.bag == "backpack":
        _draw_backpack(body)
    elif body.look.bag == "shoulderbag":
        _draw_shoulder_bag(body)
    elif body.look.bag == "handbag":
        _draw_handbag(body)


def draw_held(body: Body) -> None:
    """Draw the held object; phones and cups are hidden from behind; report "held"."""
    pen, held = body.pen, body.look.held
    x, y = body.pose.hands[1]
    if held == "umbrella":
        colour = body.colours["held"]
        pen.stroke(((x, y), (x * 0.8, -0.03)), 0.014, _METAL)
        pen.dome((x * 0.8 - 0.235, -0.115, x * 0.8 + 0.235, 0.10), colour, shade(colour, 0.7))
        # An umbrella is recognised by its middle: the crop may cut its rim.
        body.show("held", x * 0.8 - 0.13, -0.115, x * 0.8 + 0.13, 0.0)
    elif held is None or body.view == "back":
        return
    elif held == "phone":
        pen.rounded((x - 0.026, y - 0.062, x + 0.026, y + 0.02), 0.008, _PHONE)
        pen.rectangle((x - 0.018, y - 0.052, x + 0.018, y + 0.008), _SCREEN)
        body.show("held", x - 0.026, y - 0.062, x + 0.026, y + 0.02)
    else:
        pen.polygon(
            ((x - 0.026, y - 0.06), (x + 0.026, y - 0.06), (x + 0.019, y + 0.02), (x - 0.019, y + 0.02)), _PAPER
        )
        pen.rectangle((x - 0.026, y - 0.04, x + 0.026, y - 0.012), _SLEEVE)
        body.show("held", x - 0.026, y - 0.06, x + 0.026, y + 0.02)
