"""Target domain: pedestrians cropped from six street cameras, with captions of witnesses."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image, ImageDraw

from dataset_scripts.synthetic.attributes import PersonAttributes, sample_attributes
from dataset_scripts.synthetic.cameras import CAMERAS, Camera, draw_background, expose
from dataset_scripts.synthetic.figure.figure import VIEWS, draw_figure, visible_parts
from dataset_scripts.synthetic.figure.pen import Box, jitter, shade
from dataset_scripts.synthetic.seeds import stream
from dataset_scripts.synthetic.words.grammar import describe_pedestrian

__all__ = ["IMAGE_SIZE", "SyntheticImage", "person_attributes", "render_person"]

IMAGE_SIZE = (48, 144)
"""Width and height of every street picture in pixels."""

_OVERSAMPLING = 2
_SIZE = (IMAGE_SIZE[0] * _OVERSAMPLING, IMAGE_SIZE[1] * _OVERSAMPLING)
_VIEW_WEIGHTS = {"front": 38, "back": 24, "left": 19, "right": 19}
_PASSER_BY_SHARE, _OCCLUDER_SHARE = 0.18, 0.22
_OCCLUDERS = ((70, 70, 72), (120, 96, 70), (60, 84, 60), (150, 150, 150), (110, 40, 40))


@dataclass(frozen=True, slots=True)
class SyntheticImage:
    """One picture of one person."""

    image: Image.Image  # RGB, `IMAGE_SIZE`
    person_id: int  # whose picture it is
    camera: str  # "c1" to "c6"
    view: str  # "front", "back", "left" or "right"
    visible: tuple[str, ...]  # names of the parts that the picture shows, sorted
    captions: list[str]  # sentences that name only visible parts


def _paste_passer_by(scene: Image.Image, rng: random.Random) -> None:
    width, height = scene.size
    figure = draw_figure(
        scene.size,
        sample_attributes(rng),
        rng,
        centre_x=width * rng.choice((rng.uniform(-0.02, 0.12), rng.uniform(0.88, 1.02))),
        top=height * rng.uniform(0.1, 0.3),
        height=height * rng.uniform(0.5, 0.75),
        view=rng.choice(VIEWS),
        colour_spread=20,
    )
    scene.paste(figure.layer, (0, 0), figure.layer)


def _paste_person(
    scene: Image.Image, look: PersonAttributes, camera: Camera, view: str, rng: random.Random
) -> tuple[Image.Image, Mapping[str, Box]]:
    """Paste a person with shadow, as a detector crops it; return mask and boxes."""
    width, height = scene.size
    tall, top = height * rng.uniform(0.84, 0.93), height * rng.uniform(0.02, 0.09)
    if look.held == "umbrella":
        tall, top = min(tall, height * 0.86), height * rng.uniform(0.10, 0.15)
    centre_x = width * (0.5 + rng.uniform(-0.10, 0.10))
    figure = draw_figure(scene.size, look, rng, centre_x=centre_x, top=top, height=tall, view=view, colour_spread=14)
    shadow = (centre_x - 0.2 * width, top + tall * 0.965, centre_x + 0.2 * width, top + tall * 1.02)
    ImageDraw.Draw(scene).ellipse(shadow, fill=shade(camera.floor, 0.55))
    mask = figure.layer.getchannel("A")
    scene.paste(figure.layer, (0, 0), mask)
    return mask, figure.parts


def _paste_occluder(scene: Image.Image, mask: Image.Image, rng: random.Random) -> Box:
    """Draw an object before the feet or at one edge; return its box."""
    width, height = scene.size
    colour = jitter(rng.choice(_OCCLUDERS), rng, 14)
    if rng.random() < 0.6:
        left = 0 if rng.random() < 0.5 else width * 0.35
        right = width if rng.random() < 0.6 else width * 0.65
        box = (left, height * rng.uniform(0.76, 0.92), right, height)
    else:
        reach = width * rng.uniform(0.08, 0.22)
        left = rng.choice((0, width - reach))
        box = (left, height * rng.uniform(0, 0.4), left + reach, height)
    ImageDraw.Draw(scene).rectangle(box, fill=colour)
    ImageDraw.Draw(mask).rectangle(box, fill=0)
    return box


def _render_view(
    look: PersonAttributes, camera: Camera, view: str, rng: random.Random
) -> tuple[Image.Image, frozenset[str]]:
    scene = draw_background(camera, _SIZE, rng)
    if rng.random() < _PASSER_BY_SHARE:
        _paste_passer_by(scene, rng)
    mask, parts = _paste_person(scene, look, camera, view, rng)
    occluder = _paste_occluder(scene, mask, rng) if rng.random() < _OCCLUDER_SHARE else None
    image = expose(scene.reduce(_OVERSAMPLING), mask.reduce(_OVERSAMPLING), camera, rng)
    return image, visible_parts(parts, (0, 0, *_SIZE), occluder)


def person_attributes(seed: int, person_id: int) -> PersonAttributes:
    """Return the appearance of person `person_id` in the world `seed`."""
    return sample_attributes(stream(seed, person_id))


def render_person(seed: int, person_id: int, images: int = 4, captions: int = 2) -> list[SyntheticImage]:
    """Draw pictures of one person, using each camera before repeating any.

    Deterministic in (seed, person_id): the first pictures do not depend on `images`.

    Args:
        seed: the world, 0 or greater.
        person_id: the person in that world, 0 or greater.
        images, captions: pictures, and captions per picture, 1 or more.

    Raises ValueError: an argument is out of range.
    """
    if images < 1 or captions < 1:
        raise ValueError(f"images={images}, captions={captions}: both must be at least 1")
    look = person_attributes(seed, person_id)
    order = list(CAMERAS)
    stream(seed, person_id, 0).shuffle(order)
    rendered = []
    for index in range(images):
        rng = stream(seed, person_id, index + 1)
        camera = order[index % len(order)]
        view = rng.choices(list(_VIEW_WEIGHTS), list(_VIEW_WEIGHTS.values()))[0]
        image, visible = _render_view(look, camera, view, rng)
        sentences = [describe_pedestrian(look, visible, rng) for _ in range(captions)]
        rendered.append(SyntheticImage(image, person_id, camera.name, view, tuple(sorted(visible)), sentences))
    return rendered
