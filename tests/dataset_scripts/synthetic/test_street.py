import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dataset_scripts.synthetic import IMAGE_SIZE, SyntheticImage, render_person


def _content(shots: list[SyntheticImage]) -> list[tuple]:
    return [(shot.image.tobytes(), shot.camera, shot.view, shot.visible, tuple(shot.captions)) for shot in shots]


def test_the_same_key_gives_the_same_bytes():
    assert _content(render_person(7, 3)) == _content(render_person(7, 3))


def test_people_and_worlds_differ():
    worlds = [render_person(seed, person) for seed in (0, 1) for person in range(20)]
    assert len({shot.image.tobytes() for shots in worlds for shot in shots}) == 160


def test_the_first_pictures_do_not_depend_on_how_many_are_drawn():
    assert _content(render_person(0, 5, images=2)) == _content(render_person(0, 5, images=6))[:2]


def test_more_captions_leave_picture_and_first_captions_alone():
    few, many = render_person(0, 5, captions=1), render_person(0, 5, captions=3)
    assert [shot.image.tobytes() for shot in few] == [shot.image.tobytes() for shot in many]
    assert [shot.captions[0] for shot in few] == [shot.captions[0] for shot in many]


def test_form_of_a_picture():
    for shot in render_person(0, 12, images=5, captions=3):
        assert (shot.image.mode, shot.image.size) == ("RGB", IMAGE_SIZE) == ("RGB", (48, 144))
        assert shot.person_id == 12
        assert len(shot.captions) == 3
        assert "upper" in shot.visible


def test_each_camera_once_before_any_comes_back():
    cameras = [shot.camera for shot in render_person(0, 1, images=8)]
    assert sorted(cameras[:6]) == ["c1", "c2", "c3", "c4", "c5", "c6"]
    assert cameras[6:] == cameras[:2]


def test_cameras_leave_their_mark():
    colours = {f"c{number}": [] for number in range(1, 7)}
    for person in range(40):
        for shot in render_person(0, person, images=6):
            colours[shot.camera].append(np.asarray(shot.image).mean(axis=(0, 1)))
    means = {camera: np.mean(values, axis=0) for camera, values in colours.items()}
    assert means["c3"][2] > means["c3"][0] + 10
    assert means["c4"][0] > means["c4"][2] + 10
    assert means["c6"].mean() > means["c5"].mean() + 30


@pytest.mark.parametrize("arguments", [{"images": 0}, {"captions": 0}])
def test_counts_below_one_are_refused(arguments):
    with pytest.raises(ValueError, match="at least 1"):
        render_person(0, 0, **arguments)


@pytest.mark.parametrize(("seed", "person_id"), [(-1, 0), (0, -1)])
def test_negative_keys_are_refused(seed, person_id):
    with pytest.raises(ValueError, match="seed key"):
        render_person(seed, person_id)


def test_the_world_of_the_shipped_figures():
    """Other captions mean another world: the stand-in CLIP's figures would have to be measured again."""
    digest = hashlib.sha256()
    for person in range(950, 1000):
        for shot in render_person(0, person):
            digest.update(repr((shot.camera, shot.view, shot.visible, shot.captions)).encode())
    assert digest.hexdigest() == "998d7b1769cbf482d6bb420a5577389707acf86daaba104cd309072d997a6db0"


def test_string_hashes_and_set_order_have_no_say():
    """Two interpreters with different hash seeds draw the same world."""
    program = (
        "import hashlib; from dataset_scripts.synthetic import render_person;"
        "d = hashlib.sha256();"
        "[d.update(s.image.tobytes() + repr(s.captions).encode()) for p in range(10) for s in render_person(0, p)];"
        "import sys; sys.stdout.write(d.hexdigest() + str('torch' in sys.modules))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert outputs.pop().endswith("False")
