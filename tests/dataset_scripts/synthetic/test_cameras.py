import random

import numpy as np
import pytest
from PIL import Image

from dataset_scripts.synthetic.cameras import CAMERAS, draw_background, expose

SIZE = (48, 144)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.name)
def test_background_fills_the_frame_with_the_cameras_colours(camera):
    pixels = np.asarray(draw_background(camera, SIZE, random.Random(0)))
    assert pixels.shape == (144, 48, 3)
    # The last row is floor, but for a crack or a post.
    assert np.abs(np.median(pixels[-1], axis=0) - np.array(camera.floor)).max() <= 24


def test_exposure_keeps_the_form_and_follows_the_seed():
    scene, mask = Image.new("RGB", SIZE, (120, 120, 120)), Image.new("L", SIZE, 0)
    first, again, other = (expose(scene, mask, CAMERAS[0], random.Random(seed)) for seed in (1, 1, 2))
    assert (first.mode, first.size) == ("RGB", SIZE)
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_exposure_without_a_body_is_a_curve_plus_noise():
    scene, mask = Image.new("RGB", SIZE, (120, 120, 120)), Image.new("L", SIZE, 0)
    taken = np.asarray(expose(scene, mask, CAMERAS[0], random.Random(1))).astype(float)
    # A grey wall stays one grey: only the sensor's noise varies, and the neutral camera adds no cast.
    assert taken.std() < 0.04 * 255
    assert np.ptp(taken.mean(axis=(0, 1))) < 1.5


def test_light_falls_on_the_body_only():
    scene, mask = Image.new("RGB", SIZE, (120, 120, 120)), Image.new("L", SIZE, 0)
    mask.paste(255, (0, 72, 48, 144))
    taken = np.asarray(expose(scene, mask, CAMERAS[0], random.Random(1))).astype(float)
    columns_of_wall, columns_of_body = taken[:70].mean(axis=(0, 2)), taken[74:].mean(axis=(0, 2))
    assert np.ptp(columns_of_body) > 3 * np.ptp(columns_of_wall)


def test_the_cast_colours_the_picture():
    scene, mask = Image.new("RGB", SIZE, (120, 120, 120)), Image.new("L", SIZE, 0)
    warm = np.asarray(expose(scene, mask, CAMERAS[3], random.Random(1))).astype(float).mean(axis=(0, 1))
    assert warm[0] > warm[1] > warm[2]


def test_street_pictures_are_darker_than_the_scene():
    scene, mask = Image.new("RGB", SIZE, (255, 255, 255)), Image.new("L", SIZE, 0)
    brightest = max(np.asarray(expose(scene, mask, CAMERAS[5], random.Random(seed))).max() for seed in range(20))
    assert 0.8 * 255 < brightest <= 0.86 * 255
