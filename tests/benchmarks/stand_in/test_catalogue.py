import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.stand_in.catalogue import CATALOGUE_SIZE, render_catalogue_item
from benchmarks.stand_in.catalogue_set import load_catalogue_set
from dataset_scripts.synthetic.words.lexicon import THING_WORDS


def _items(count: int, seed: int) -> list[tuple[bytes, str]]:
    rng = random.Random(seed)
    return [(image.tobytes(), caption) for image, caption in (render_catalogue_item(rng) for _ in range(count))]


def test_the_same_seed_gives_the_same_items():
    assert _items(30, 4) == _items(30, 4)
    assert _items(30, 4) != _items(30, 5)


def test_form_of_an_item():
    rng = random.Random(0)
    for _ in range(40):
        image, caption = render_catalogue_item(rng)
        assert (image.mode, image.size) == ("RGB", (CATALOGUE_SIZE, CATALOGUE_SIZE))
        assert caption.strip() == caption != ""


def test_the_catalogue_has_people_products_objects_and_noise():
    captions = [caption for _, caption in _items(1500, 0)]
    share = {
        "shapes": sum(any(word in caption for word in ("circle", "star", "mug", "house")) for caption in captions),
        "people": sum(any(word in caption for word in ("person", "woman", "man", "model")) for caption in captions),
        "noise": sum(caption in ("untitled", "download", "img 0042") for caption in captions),
    }
    assert share["people"] > 0.3 * len(captions)
    assert 0.03 * len(captions) < share["shapes"] < 0.2 * len(captions)
    assert 0.005 * len(captions) < share["noise"] < 0.06 * len(captions)


def test_every_thing_occurs_in_the_catalogue():
    text = " | ".join(caption for _, caption in _items(3000, 1))
    assert [thing for thing, words in THING_WORDS.items() if not any(word in text for word in words)] == []


def test_grounds_are_plain():
    """No clutter: the left edge of a picture has few colours, other than a street's."""
    rng = random.Random(2)
    edges = [np.asarray(render_catalogue_item(rng)[0])[:40, 0].astype(int) for _ in range(60)]
    steps = [np.abs(np.diff(edge, axis=0)).max() for edge in edges]
    assert np.median(steps) <= 4


def test_a_set_is_rendered_once_and_opened_again(tmp_path):
    first = load_catalogue_set(tmp_path / "set", count=12, seed=1)
    written = (tmp_path / "set" / "pictures.npy").stat().st_mtime_ns
    again = load_catalogue_set(tmp_path / "set", count=12, seed=1)
    assert (tmp_path / "set" / "pictures.npy").stat().st_mtime_ns == written
    assert first.pixels.shape == (12, 96, 96, 3)
    assert list(first.captions) == list(again.captions)
    assert (first.pixels == again.pixels).all()
    assert first.pixels.reshape(12, -1).std(axis=1).min() > 0


@pytest.mark.parametrize(("count", "seed"), [(13, 1), (12, 2)])
def test_a_set_of_another_kind_is_refused(tmp_path, count, seed):
    load_catalogue_set(tmp_path, count=12, seed=1)
    with pytest.raises(ValueError, match="captions.json holds 12 pictures of seed 1"):
        load_catalogue_set(tmp_path, count=count, seed=seed)


def test_an_interrupted_rendering_starts_anew(tmp_path):
    whole = load_catalogue_set(tmp_path / "whole", count=6, seed=1)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "pictures.npy").write_bytes(b"half a file")
    assert (load_catalogue_set(tmp_path / "broken", count=6, seed=1).pixels == whole.pixels).all()


def test_string_hashes_and_set_order_have_no_say():
    """Two interpreters with different hash seeds draw the same pictures."""
    program = (
        "import hashlib, sys; from benchmarks.stand_in.catalogue import render_catalogue_item;"
        "from dataset_scripts.synthetic import stream; d = hashlib.sha256(); r = stream(1);"
        "[d.update(i.tobytes() + c.encode()) for i, c in (render_catalogue_item(r) for _ in range(50))];"
        "sys.stdout.write(d.hexdigest())"
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
