"""A posed body: joints, widths and colours shared by all parts."""

import math
import random
from dataclasses import dataclass, field

from dataset_scripts.synthetic.attributes import HAIR_COLOURS, PALETTE, SKIN_TONES, Colour, PersonAttributes
from dataset_scripts.synthetic.figure.pen import Box, Pen, Point, jitter

__all__ = ["HEAD_RADIUS", "HEAD_Y", "HIP_Y", "SHOULDER_Y", "VIEWS", "WRIST_Y", "Body", "Pose", "make_body"]

VIEWS = ("front", "back", "left", "right")
"""The side of the person that the camera sees; "left" walks to the left of the picture."""

HEAD_Y, HEAD_RADIUS, SHOULDER_Y, WRIST_Y, HIP_Y = 0.075, 0.062, 0.165, 0.44, 0.50
_KNEE_Y, _ANKLE_Y = 0.73, 0.955
_GIRTHS = {"slim": 0.86, "medium": 1.0, "heavy": 1.24}


@dataclass(frozen=True, slots=True)
class Pose:
    """Joints in body coordinates. Pairs are (far or picture-left, near or picture-right)."""

    hips: tuple[Point, Point]
    knees: tuple[Point, Point]
    feet: tuple[Point, Point]
    shoulders: tuple[Point, Point]
    elbows: tuple[Point, Point]
    hands: tuple[Point, Point]


@dataclass(slots=True)
class Body:
    """State read by the drawing functions, and the parts they report."""

    pen: Pen  # draws on the figure's layer
    look: PersonAttributes  # the person's attributes
    view: str  # one of `VIEWS`
    pose: Pose  # the joints
    girth: float  # width factor of the build
    shoulder: float  # shoulder, hip: half widths in body heights
    hip: float
    colours: dict[str, Colour]  # jittered colours by part ("upper", "skin", ...)
    # boxes in pixels of what the picture shows, by the names that captions use: "hair", "hat", "upper", "pattern",
    # "inner", "lower", "shoes", "bag", "glasses", "held"
    parts: dict[str, Box] = field(default_factory=dict)

    @property
    def sideways(self) -> bool:
        """Whether the camera sees the person from the side."""
        return self.view in ("left", "right")

    def show(self, part: str, x0: float, y0: float, x1: float, y1: float) -> None:
        """Report a part as shown inside this box (body coordinates)."""
        self.parts[part] = self.pen.box(x0, y0, x1, y1)


def _side_pose(swing: float, raised: bool) -> Pose:
    """Joints of a person who walks to the picture's right."""
    near_hand = (0.13, 0.34) if raised else (0.15 * swing, WRIST_Y)
    near_elbow = (0.0, 0.335) if raised else (-0.01 + 0.09 * swing, 0.31)
    return Pose(
        hips=((0.0, HIP_Y), (0.0, HIP_Y)),
        knees=((0.035 + 0.085 * swing, _KNEE_Y), (0.02 - 0.06 * swing, _KNEE_Y)),
        feet=((-0.02 + 0.15 * swing, _ANKLE_Y - 0.02 * abs(swing)), (-0.02 - 0.15 * swing, _ANKLE_Y)),
        shoulders=((0.0, 0.20), (0.0, 0.205)),
        elbows=((-0.01 - 0.09 * swing, 0.31), near_elbow),
        hands=((-0.15 * swing, WRIST_Y), near_hand),
    )


def _upright_pose(swing: float, shoulder: float, girth: float, held: str | None, raised: bool) -> Pose:
    """Return joints for walking towards or away from the camera."""
    right_hand = (shoulder * 1.1 + 0.01 * swing, WRIST_Y)
    right_elbow = (shoulder * 1.16, 0.325)
    if raised:
        right_hand = (shoulder * 1.15, 0.30) if held == "umbrella" else (shoulder * 0.62, 0.315)
        right_elbow = (shoulder * 1.22, 0.325)
    forward, backward = max(0.0, swing), max(0.0, -swing)
    return Pose(
        hips=((-0.05 * girth, HIP_Y), (0.05 * girth, HIP_Y)),
        knees=((-0.06 * girth, _KNEE_Y - 0.012 * forward), (0.06 * girth, _KNEE_Y - 0.012 * backward)),
        feet=((-0.062 * girth, _ANKLE_Y - 0.03 * forward), (0.062 * girth, _ANKLE_Y - 0.03 * backward)),
        shoulders=((-shoulder, 0.20), (shoulder, 0.20)),
        elbows=((-shoulder * 1.16, 0.325), right_elbow),
        hands=((-shoulder * 1.1 - 0.01 * swing, WRIST_Y), right_hand),
    )


def _jittered_colours(look: PersonAttributes, rng: random.Random, spread: float) -> dict[str, Colour]:
    """Draw one colour a part; cloth moves by up to `spread`, 0-255."""
    named = {
        "upper": look.upper_colour,
        "lower": look.lower_colour or "black",
        "shoes": look.shoe_colour,
        "bag": look.bag_colour,
        "pattern": look.pattern_colour,
        "inner": look.inner_colour,
        "hat": look.hat_colour,
        "held": look.held_colour,
    }
    colours = {part: jitter(PALETTE[name], rng, spread) for part, name in named.items()}
    colours["skin"] = jitter(SKIN_TONES[look.skin], rng, 6)
    colours["hair"] = jitter(HAIR_COLOURS[look.hair_colour], rng, 6)
    return colours


def make_body(
    pen: Pen, look: PersonAttributes, view: str, rng: random.Random, stride: float, colour_spread: float
) -> Body:
    """Pose a person; `rng` sets the gait's phase and the exact colours.

    Args:
        pen: where to draw; mirrored for the view "left".
        look: the person's attributes.
        view: one of `VIEWS`.
        rng: the source of randomness.
        stride: length of the stride, 0 (stands) to 1.
        colour_spread: how far colours may move from the palette, in 0 to 255.
    """
    girth = _GIRTHS[look.build]
    swing = math.sin(rng.uniform(0, 2 * math.pi)) * stride
    sideways = view in ("left", "right")
    shoulder, hip = (0.078, 0.07) if sideways else (0.115, 0.088)
    shoulder, hip = shoulder * girth, hip * girth
    # A phone or a cup is held before the chest: from behind, both arms hang.
    raised = look.held is not None and (view != "back" or look.held == "umbrella")
    pose = _side_pose(swing, raised) if sideways else _upright_pose(swing, shoulder, girth, look.held, raised)
    return Body(pen, look, view, pose, girth, shoulder, hip, _jittered_colours(look, rng, colour_spread))
