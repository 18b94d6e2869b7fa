"""The six street cameras: their backgrounds and their effect on a picture."""

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from dataset_scripts.synthetic.attributes import Colour
from dataset_scripts.synthetic.figure.pen import jitter, shade

__all__ = ["CAMERAS", "Camera", "draw_background", "expose"]

_CLUTTER = ((90, 90, 92), (130, 120, 108), (70, 90, 110), (150, 150, 150), (60, 80, 60), (110, 60, 52))
_POST = (58, 58, 60)
# Street pictures are darker than a catalogue's: a gap between the domains that adaptation can close.
_EXPOSURE = 0.86


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera: name, place, and colour cast (gains of red, green, blue)."""

    name: str
    wall: Colour
    floor: Colour
    cast: tuple[float, float, float]


CAMERAS = (
    Camera("c1", (150, 150, 146), (112, 110, 108), (1.0, 1.0, 1.0)),
    Camera("c2", (120, 134, 112), (148, 140, 122), (1.06, 1.0, 0.9)),
    Camera("c3", (96, 104, 120), (84, 88, 98), (0.86, 0.95, 1.14)),
    Camera("c4", (176, 160, 138), (150, 132, 112), (1.12, 1.0, 0.82)),
    Camera("c5", (70, 74, 78), (62, 62, 64), (0.92, 1.02, 0.98)),
    Camera("c6", (188, 192, 196), (168, 168, 164), (0.96, 1.0, 1.06)),
)
"""All cameras of the street."""


def draw_background(camera: Camera, size: tuple[int, int], rng: random.Random) -> Image.Image:
    """Draw wall, clutter, floor, cracks and sometimes a post, RGB of `size`."""
    width, height = size
    image = Image.new("RGB", size, jitter(camera.wall, rng, 16))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(2, 6)):
        x, y = rng.uniform(-0.2, 1.0) * width, rng.uniform(-0.1, 0.6) * height
        far = (x + rng.uniform(0.1, 0.7) * width, y + rng.uniform(0.05, 0.35) * height)
        draw.rectangle((x, y, *far), fill=jitter(rng.choice(_CLUTTER), rng, 26))
    horizon = int(height * rng.uniform(0.45, 0.75))
    draw.rectangle((0, horizon, width, height), fill=jitter(camera.floor, rng, 16))
    for _ in range(rng.randint(0, 4)):
        y = rng.randint(horizon, height)
        draw.line((0, y, width, y + rng.randint(-14, 14)), fill=shade(camera.floor, 0.84), width=2)
    if rng.random() < 0.35:
        x = rng.uniform(0, width)
        draw.rectangle((x, 0, x + rng.uniform(3, 9), height * rng.uniform(0.6, 0.95)), fill=_POST)
    return image


def _soften(image: Image.Image, rng: random.Random) -> Image.Image:
    width, height = image.size
    if rng.random() < 0.35:
        scale = rng.uniform(0.45, 0.8)
        small = image.resize((max(8, int(width * scale)), max(24, int(height * scale))), Image.Resampling.BILINEAR)
        return small.resize((width, height), Image.Resampling.BILINEAR)
    if rng.random() < 0.4:
        return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    return image


def _lighting(shape: tuple[int, int], rng: random.Random, noise: np.random.Generator) -> np.ndarray:
    """Light on the body, `[height, width]` around 1: side gradient times folds."""
    height, width = shape
    gradient = np.linspace(1.12, 0.72, width, dtype=np.float32)
    if rng.random() < 0.5:
        gradient = gradient[::-1]
    coarse = 1 + 0.12 * noise.standard_normal((max(2, height // 12), max(2, width // 8)), dtype=np.float32)
    folds = Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)
    return gradient * np.asarray(folds)


def expose(image: Image.Image, body: Image.Image, camera: Camera, rng: random.Random) -> Image.Image:
    """Simulate the camera: light, sharpness, exposure, colour cast, contrast, noise.

    Args:
        image: the clean scene, RGB.
        body: mask of the person, mode "L" of the same size, 255 on the body.
        camera: gives the colour cast.
        rng: the source of randomness.
    """
    noise = np.random.default_rng(rng.getrandbits(64))
    mask = np.asarray(body, dtype=np.float32) / 255
    gamma, gain = rng.uniform(0.8, 1.3), rng.uniform(0.7, 1.15)
    light = 1 + mask * (_lighting(mask.shape, rng, noise) - 1)
    # Gamma of a product is the product of gammas, so the table needs only 256 powers and the light one a pixel.
    table = (np.linspace(0, 1, 256, dtype=np.float32) ** gamma) * gain
    pixels = table[np.asarray(_soften(image, rng))]
    pixels *= (np.clip(light, 0.2, 2.0) ** gamma)[..., None]
    contrast, offset = rng.uniform(0.72, 1.05), rng.uniform(-0.05, 0.05)
    pixels *= np.asarray(camera.cast, dtype=np.float32) * contrast
    pixels += 0.5 - 0.5 * contrast + offset
    pixels += rng.uniform(0.005, 0.035) * noise.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray((np.clip(pixels, 0, 1) * (255 * _EXPOSURE)).astype(np.uint8))
