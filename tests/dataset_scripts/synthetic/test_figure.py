import random
from dataclasses import replace

import numpy as np
import pytest

from dataset_scripts.synthetic import PersonAttributes
from dataset_scripts.synthetic.figure.figure import VIEWS, Figure, draw_figure, visible_parts

LOOK = PersonAttributes(
    hair_length="short",
    hair_colour="black",
    hat="cap",
    hat_colour="red",
    upper="jacket",
    upper_colour="blue",
    pattern="stripes",
    pattern_colour="white",
    inner_colour="yellow",
    lower="jeans",
    lower_colour="navy",
    shoe_colour="white",
    bag="backpack",
    bag_colour="green",
    glasses=True,
    held="phone",
    held_colour="red",
    build="medium",
    skin=1,
)


def _draw(look: PersonAttributes, view: str, seed: int = 0) -> Figure:
    return draw_figure((96, 288), look, random.Random(seed), centre_x=48, top=30, height=240, view=view)


def _same_picture(a: PersonAttributes, b: PersonAttributes, view: str) -> bool:
    return _draw(a, view).layer.tobytes() == _draw(b, view).layer.tobytes()


WITHOUT = {
    "bag": replace(LOOK, bag=None),
    "glasses": replace(LOOK, glasses=False),
    "held": replace(LOOK, held=None),
    "hat": replace(LOOK, hat=None),
    "pattern": replace(LOOK, pattern=None),
    "inner": replace(LOOK, inner_colour="red"),
    "shoes": replace(LOOK, shoe_colour="red"),
    "lower": replace(LOOK, lower_colour="red"),
    "upper": replace(LOOK, upper_colour="red"),
    "hair": replace(LOOK, hair_colour="blond"),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("part", WITHOUT)
@pytest.mark.parametrize("bag", ["backpack", "handbag", "shoulderbag"])
def test_a_part_is_reported_exactly_where_it_changes_the_picture(view, part, bag):
    look, without = replace(LOOK, bag=bag), WITHOUT[part]
    without = without if part == "bag" else replace(without, bag=bag)
    reported = part in _draw(look, view).parts
    assert reported == (not _same_picture(look, without, view))


@pytest.mark.parametrize("view", VIEWS)
def test_a_logo_shows_only_from_the_front(view):
    look = replace(LOOK, upper="tshirt", pattern="logo")
    assert ("pattern" in _draw(look, view).parts) == (view == "front")
    assert _same_picture(look, replace(look, pattern=None), view) == (view != "front")


def test_a_long_coat_hides_a_skirt_and_leaves_trousers():
    coat = replace(LOOK, upper="coat")
    assert "lower" not in _draw(replace(coat, lower="skirt"), "front").parts
    assert "lower" not in _draw(replace(coat, lower="shorts"), "front").parts
    assert "lower" in _draw(replace(coat, lower="trousers"), "front").parts


def test_a_bald_head_under_a_hat_is_not_reported():
    bald = replace(LOOK, hair_length="bald")
    assert "hair" not in _draw(bald, "front").parts
    assert "hair" in _draw(replace(bald, hat=None), "front").parts


def test_walking_left_mirrors_walking_right():
    left, right = (np.asarray(_draw(LOOK, view).layer)[..., 3] > 0 for view in ("left", "right"))
    # The axis lies between two pixel columns, so edges may differ by one pixel.
    assert (left[:, ::-1] != right).mean() < 0.02
    assert (left != right).mean() > 0.05


def test_boxes_lie_around_what_they_name():
    figure = _draw(LOOK, "front")
    pixels = np.asarray(figure.layer).astype(int)
    left, top, right, bottom = (round(edge) for edge in figure.parts["shoes"])
    whitish = (pixels[..., :3].min(axis=2) > 200) & (pixels[..., 3] > 0)
    assert whitish[top:bottom, left:right].sum() > 0.7 * whitish[int(0.8 * 288) :].sum()


def test_visible_share_in_closed_form():
    parts = {
        "whole": (10, 10, 20, 20),
        "half out": (-5, 0, 5, 10),
        "covered": (0, 90, 100, 100),
        "out": (0, 200, 9, 209),
    }
    frame = (0, 0, 100, 100)
    assert visible_parts(parts, frame, share=0.6) == {"whole", "covered"}
    assert visible_parts(parts, frame, share=0.5) == {"whole", "covered", "half out"}
    assert visible_parts(parts, frame, occluder=(0, 95, 100, 100), share=0.5) == {"whole", "covered", "half out"}
    assert visible_parts(parts, frame, occluder=(0, 94, 100, 100), share=0.5) == {"whole", "half out"}
