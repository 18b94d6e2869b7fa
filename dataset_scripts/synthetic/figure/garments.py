"""Legs, trunk and arms with the clothes on them."""

from dataset_scripts.synthetic.figure.body import HIP_Y, SHOULDER_Y, Body
from dataset_scripts.synthetic.figure.pen import Point, lighten, shade

__all__ = ["draw_far_arm", "draw_legs", "draw_near_arms", "draw_trunk"]

_LONG_SLEEVES = ("shirt", "jacket", "hoodie", "coat", "sweater")
_HEMS = {"coat": 0.70, "dress": 0.68, "jacket": 0.535, "hoodie": 0.53}
_LOWER_HEMS = {"trousers": 0.93, "jeans": 0.93, "shorts": 0.70, "skirt": 0.70}
_FLARES = {"coat": 1.22, "dress": 1.55}
_LEG_WIDTH, _ARM_WIDTH = 0.078, 0.058


def _between(a: Point, b: Point, share: float) -> Point:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def _draw_leg(body: Body, index: int, light: float) -> None:
    """One leg with its trouser leg; `light` darkens the far one."""
    pen, pose, look = body.pen, body.pose, body.look
    hip, knee, foot = pose.hips[index], pose.knees[index], pose.feet[index]
    width = _LEG_WIDTH * body.girth
    cloth = shade(body.colours["lower"], light)
    if look.lower in ("trousers", "jeans"):
        pen.limb((hip, knee, foot), width, cloth)
        if look.lower == "jeans":
            pen.stroke(((knee[0], 0.56), knee, (foot[0], foot[1] - 0.03)), 0.014, lighten(cloth, 34))
        return
    pen.limb((hip, knee, foot), width * 0.74, shade(body.colours["skin"], light))
    if look.lower == "shorts":
        pen.stroke((hip, _between(hip, knee, 0.88)), width * 1.25, cloth)


def _draw_shoe(body: Body, index: int, light: float) -> None:
    x, y = body.pose.feet[index]
    upper = shade(body.colours["shoes"], light)
    if body.sideways:
        body.pen.rounded((x - 0.035, y - 0.012, x + 0.088, y + 0.042), 0.02, upper)
    else:
        body.pen.rounded((x - 0.042, y - 0.018, x + 0.042, y + 0.045), 0.022, upper)


def _draw_skirt(body: Body) -> None:
    hip, hem, colour = body.hip, 0.70, body.colours["lower"]
    body.pen.polygon(
        ((-hip, HIP_Y - 0.03), (hip, HIP_Y - 0.03), (hip * 1.55, hem), (-hip * 1.55, hem)),
        colour,
    )
    for x in (-hip * 0.5, 0.0, hip * 0.5):
        body.pen.stroke(((x, HIP_Y), (x * 1.5, hem)), 0.008, shade(colour, 0.85))


def draw_legs(body: Body) -> None:
    """Draw legs, their clothes and shoes; report "lower" and "shoes"."""
    feet = body.pose.feet
    for index in (0, 1):
        light = 0.8 if body.sideways and index == 0 else 1.0
        _draw_leg(body, index, light)
        _draw_shoe(body, index, light)
    if body.look.lower == "skirt":
        _draw_skirt(body)
    if body.look.lower is not None:
        top, hem = max(HIP_Y, _HEMS.get(body.look.upper, 0.0)), _LOWER_HEMS[body.look.lower]
        # A long coat hides what ends above its own hem.
        if hem > top + 0.05:
            body.show("lower", -body.hip, top, body.hip, hem)
    body.show("shoes", min(x for x, _ in feet) - 0.04, 0.935, max(x for x, _ in feet) + 0.04, 1.0)


def _outline(body: Body) -> list[tuple[float, float]]:
    """Return the trunk's outline, neck to hem, as (y, half width)."""
    hem = _HEMS.get(body.look.upper, 0.515)
    shoulder, hip = body.shoulder, body.hip
    return [
        (SHOULDER_Y - 0.012, shoulder * 0.45),
        (SHOULDER_Y + 0.004, shoulder * 0.86),
        (SHOULDER_Y + 0.026, shoulder),
        (0.36, shoulder * 0.93),
        (0.49, hip * 1.03),
        (hem, hip * _FLARES.get(body.look.upper, 1.0)),
    ]


def _half_width(outline: list[tuple[float, float]], y: float) -> float:
    """The outline's half width at height y, linear between its knots."""
    for (y0, width0), (y1, width1) in zip(outline, outline[1:], strict=False):
        if y <= y1:
            return width0 + (width1 - width0) * max(0.0, y - y0) / (y1 - y0)
    return outline[-1][1]


def _draw_bands(body: Body, outline: list[tuple[float, float]], period: float, thickness: float) -> None:
    y, hem = SHOULDER_Y + 0.01, outline[-1][0]
    while y + thickness < hem:
        above, below = _half_width(outline, y), _half_width(outline, y + thickness)
        corners = ((-above, y), (above, y), (below, y + thickness), (-below, y + thickness))
        body.pen.polygon(corners, body.colours["pattern"])
        y += period


def _draw_pattern(body: Body, outline: list[tuple[float, float]]) -> None:
    """Stripes, a plaid or, from the front, a logo; reports "pattern"."""
    hem = outline[-1][0]
    if body.look.pattern == "stripes":
        _draw_bands(body, outline, 0.05, 0.023)
    elif body.look.pattern == "plaid":
        _draw_bands(body, outline, 0.052, 0.013)
        reach = min(_half_width(outline, 0.49), body.shoulder * 0.9)
        for step in (-0.8, -0.27, 0.27, 0.8):
            x = step * reach
            top = SHOULDER_Y + (0.012 if abs(step) > 0.5 else -0.008)
            body.pen.rectangle((x - 0.006, top, x + 0.006, hem), body.colours["pattern"])
    elif body.look.pattern == "logo" and body.view == "front":
        reach = 0.05 * body.girth
        body.pen.ellipse((-reach, 0.235, reach, 0.325), body.colours["pattern"])
    else:
        return
    body.show("pattern", -body.shoulder, SHOULDER_Y, body.shoulder, HIP_Y)


def _draw_front_opening(body: Body, hem: float) -> None:
    """Draw a jacket's opening (reports "inner"), coat lapels or shirt buttons."""
    pen, girth, cloth, inner = body.pen, body.girth, body.colours["upper"], body.colours["inner"]
    throat = SHOULDER_Y - 0.03
    if body.look.upper == "jacket":
        corners = ((-0.034 * girth, throat), (0.034 * girth, throat), (0.044 * girth, hem), (-0.044 * girth, hem))
        pen.polygon(corners, inner)
        body.show("inner", -0.04 * girth, SHOULDER_Y, 0.04 * girth, hem)
    elif body.look.upper == "coat":
        pen.polygon(((-0.05 * girth, throat), (0.05 * girth, throat), (0.0, 0.33)), inner)
        pen.stroke(((0, 0.33), (0, hem)), 0.012, shade(cloth, 0.6))
    elif body.look.upper == "shirt":
        pen.stroke(((0, SHOULDER_Y), (0, hem)), 0.012, shade(cloth, 0.66))
        pen.polygon(
            ((-0.045, SHOULDER_Y - 0.012), (0, SHOULDER_Y + 0.045), (0.045, SHOULDER_Y - 0.012)),
            lighten(shade(cloth, 1.2), 18),
        )
    elif body.look.upper == "hoodie":
        pen.rounded((-0.065 * girth, 0.39, 0.065 * girth, 0.475), 0.02, shade(cloth, 0.74))
        for x in (-0.018, 0.018):
            pen.stroke(((x, SHOULDER_Y), (x, SHOULDER_Y + 0.075)), 0.009, (240, 240, 240))


def draw_trunk(body: Body) -> None:
    """Draw upper garment and neck; report "upper" and the details on it."""
    outline = _outline(body)
    hem = outline[-1][0]
    cloth = body.colours["upper"]
    right = [(width, y) for y, width in outline]
    left = [(-width, y) for y, width in reversed(outline)]
    body.pen.polygon(right + left, cloth)
    body.show("upper", -body.shoulder, SHOULDER_Y, body.shoulder, hem)
    _draw_pattern(body, outline)
    if body.view == "front":
        _draw_front_opening(body, hem)
    if body.look.upper == "hoodie" and body.view == "back":
        body.pen.ellipse((-0.075, SHOULDER_Y - 0.015, 0.075, SHOULDER_Y + 0.085), shade(cloth, 0.74))
    if body.look.upper in ("dress", "coat"):
        waist = _half_width(outline, 0.415)
        body.pen.stroke(((-waist, 0.415), (waist, 0.415)), 0.013, shade(cloth, 0.7))
    body.pen.rectangle((-0.028, 0.125, 0.028, SHOULDER_Y + 0.012), shade(body.colours["skin"], 0.9))


def _draw_arm(body: Body, index: int, light: float) -> None:
    pen, pose = body.pen, body.pose
    shoulder, elbow, hand = pose.shoulders[index], pose.elbows[index], pose.hands[index]
    width = _ARM_WIDTH * body.girth
    cloth = shade(body.colours["upper"], 0.9 * light)
    if body.look.upper in _LONG_SLEEVES:
        pen.limb((shoulder, elbow, hand), width, cloth)
        if body.look.pattern == "stripes":
            for share in (0.25, 0.55, 0.85):
                x, y = _between(shoulder, elbow, share)
                pen.stroke(((x - width * 0.45, y), (x + width * 0.45, y)), 0.02, shade(body.colours["pattern"], light))
    else:
        pen.limb((shoulder, elbow, hand), width * 0.8, shade(body.colours["skin"], light))
        if body.look.upper != "vest":
            pen.stroke((shoulder, _between(shoulder, elbow, 0.65)), width * 1.12, cloth)
            pen.disc(shoulder, width * 0.5, cloth)
    pen.disc(hand, 0.026, shade(body.colours["skin"], light))


def draw_far_arm(body: Body) -> None:
    """Draw the arm behind the trunk, in side views only."""
    if body.sideways:
        _draw_arm(body, 0, 0.8)


def draw_near_arms(body: Body) -> None:
    """Draw arms in front of the trunk: one in side views, else two."""
    for index in (1,) if body.sideways else (0, 1):
        _draw_arm(body, index, 1.0)
