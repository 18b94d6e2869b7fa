"""Head, hair, face, glasses and hat."""

from dataset_scripts.synthetic.figure.body import HEAD_RADIUS, HEAD_Y, Body
from dataset_scripts.synthetic.figure.pen import shade

__all__ = ["draw_hair_behind", "draw_head"]

_EYES = (20, 16, 16)
_LENSES, _FRAME = (38, 38, 46), (25, 25, 30)


def draw_hair_behind(body: Body) -> None:
    """Draw long hair behind the trunk; call before the trunk is drawn."""
    if body.look.hair_length == "long" and not body.sideways:
        body.pen.rounded((-0.083, 0.05, 0.083, 0.235), 0.04, body.colours["hair"])


def _draw_hair(body: Body) -> None:
    """Hair over the skull for each view; reports "hair"."""
    pen, colour, r = body.pen, body.colours["hair"], HEAD_RADIUS
    is_long = body.look.hair_length == "long"
    top = HEAD_Y - r * 1.24
    if body.view == "back":
        pen.ellipse((-r, top, r, HEAD_Y + r * 0.85), colour)
        if is_long:
            pen.rounded((-0.08, 0.06, 0.08, 0.25), 0.035, colour)
    elif body.view == "front":
        pen.dome((-r, top, r, HEAD_Y + r * 0.9), colour)
        if is_long:
            for x in (-0.088, 0.048):
                pen.rounded((x, 0.04, x + 0.04, 0.235), 0.02, colour)
    else:
        pen.dome((-r * 1.1, top, r * 0.92, HEAD_Y + r * 0.9), colour)
        pen.rectangle((-r * 1.05, HEAD_Y - r * 0.3, -r * 0.25, HEAD_Y + r * 0.55), colour)
        if is_long:
            pen.rounded((-0.095, 0.05, -0.012, 0.245), 0.03, colour)


def _draw_face(body: Body) -> None:
    """Draw eyes, mouth and glasses (reports "glasses") where the view shows them."""
    pen = body.pen
    if body.view == "front":
        for x in (-0.024, 0.024):
            pen.disc((x, HEAD_Y), 0.007, _EYES)
        pen.stroke(((-0.017, HEAD_Y + 0.036), (0.017, HEAD_Y + 0.036)), 0.008, shade(body.colours["skin"], 0.6))
    if not body.look.glasses:
        return
    if body.view == "front":
        for x in (-0.046, 0.007):
            pen.rectangle((x, HEAD_Y - 0.015, x + 0.039, HEAD_Y + 0.015), _LENSES)
        pen.stroke(((-0.05, HEAD_Y - 0.006), (0.05, HEAD_Y - 0.006)), 0.008, _FRAME)
    else:
        pen.rectangle((0.014, HEAD_Y - 0.014, 0.052, HEAD_Y + 0.014), _LENSES)
        pen.stroke(((-0.02, HEAD_Y - 0.004), (0.05, HEAD_Y - 0.004)), 0.008, _FRAME)
    body.show("glasses", -0.05, HEAD_Y - 0.015, 0.05, HEAD_Y + 0.015)


def _draw_hat(body: Body) -> None:
    """Draw a peaked cap or a rimmed beanie; report "hat"."""
    pen, colour, r = body.pen, body.colours["hat"], HEAD_RADIUS
    if body.look.hat == "cap":
        pen.dome((-r * 1.08, HEAD_Y - r * 1.36, r * 1.08, HEAD_Y + r * 0.7), colour)
        if body.view == "front":
            pen.ellipse((-r * 0.95, HEAD_Y - r * 0.5, r * 0.95, HEAD_Y - r * 0.08), shade(colour, 0.8))
        elif body.sideways:
            pen.rounded((r * 0.4, HEAD_Y - r * 0.55, r * 1.75, HEAD_Y - r * 0.25), 0.01, shade(colour, 0.8))
    else:
        pen.rounded((-r * 1.05, HEAD_Y - r * 1.5, r * 1.05, HEAD_Y - r * 0.3), 0.045, colour)
        pen.rectangle((-r * 1.08, HEAD_Y - r * 0.62, r * 1.08, HEAD_Y - r * 0.26), shade(colour, 0.78))
    body.show("hat", -r, HEAD_Y - r * 1.4, r, HEAD_Y - r * 0.2)


def draw_head(body: Body) -> None:
    """Draw the head; a bald head under a hat reports no "hair"."""
    r = HEAD_RADIUS
    body.pen.ellipse((-r * 0.86, HEAD_Y - r * 1.08, r * 0.86, HEAD_Y + r * 1.12), body.colours["skin"])
    bald = body.look.hair_length == "bald"
    if not bald:
        _draw_hair(body)
    if not (bald and body.look.hat):
        body.show("hair", -r, HEAD_Y - r * 1.2, r, 0.235 if body.look.hair_length == "long" else HEAD_Y + r * 0.5)
    if body.view != "back":
        _draw_face(body)
    if body.look.hat is not None:
        _draw_hat(body)
