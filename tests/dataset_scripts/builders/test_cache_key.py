"""Numbers of the cached rules: one is raised with every change of what is cached, so that no old rows are served."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_scripts import load_person_search
from dataset_scripts.builders.cache_key import HASH_RULES, RENDERER_RULES, ROW_RULES, hash_files
from dataset_scripts.leaks.image_hash import hash_files as hash_images
from dataset_scripts.synthetic import render_person
from person_search_folders import FOLDERS, make_folder

# rules -> what they make of fixed inputs; pictures and their hashes by the tested versions, others may differ
ROWS = {1: "526384fd1e9aadfe"}
PICTURES = {1: "01696e406395f8c6"}
HASHES = {1: "e35679037866a4da"}
TESTED = {"pillow": "13.0.0", "numpy": "2.4.6"}
RAISE = "changed: raise {} in dataset_scripts/builders/cache_key.py, and note here what the new rules make"
by_tested_versions = pytest.mark.skipif(
    any(version(name) != number for name, number in TESTED.items()), reason=f"other versions than {TESTED}"
)


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def test_rows_of_all_formats_change_with_their_number(tmp_path: Path):
    texts = []
    for name in FOLDERS:
        layout = FOLDERS[name]().format
        loaded = load_person_search(layout, make_folder(name, tmp_path / name), None, cache_dir=tmp_path / "cache")
        columns = ("image_id", "person_id", "captions", "camera")
        rows = {split: [part[column] for column in columns] for split, part in loaded.items()}
        texts.append(json.dumps([name, {split: [list(column) for column in rows[split]] for split in rows}]).encode())
    assert digest(*texts) == ROWS[ROW_RULES], RAISE.format("ROW_RULES")


@by_tested_versions
def test_pictures_change_with_their_number():
    people = [picture for person in range(2) for picture in render_person(5, person)]
    parts = [part for one in people for part in (one.image.tobytes(), json.dumps([one.camera, one.captions]).encode())]
    assert digest(*parts) == PICTURES[RENDERER_RULES], RAISE.format("RENDERER_RULES")


@by_tested_versions
def test_hashes_change_with_their_number(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (30, 10, 4), np.uint8)
    picture = Image.fromarray(noise).resize((48, 144), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    picture.save(tmp_path / "transparent.png")
    picture.convert("RGB").save(tmp_path / "turned.jpg", exif=exif)
    picture.convert("CMYK").save(tmp_path / "print.jpg")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    prints = hash_images(sorted(tmp_path.iterdir()), progress=False)
    assert prints.readable.all()
    assert digest(prints.hashes.tobytes(), prints.signatures.tobytes()) == HASHES[HASH_RULES], RAISE.format(
        "HASH_RULES"
    )


def test_hash_files_depends_on_content_order_and_extras(tmp_path: Path):
    one, two = tmp_path / "1", tmp_path / "2"
    one.write_text("ab")
    two.write_text("c")
    first = hash_files([one, two], "x")
    assert first == hash_files([one, two], "x") and len(first) == 16
    assert len({first, hash_files([two, one], "x"), hash_files([one, two]), hash_files([one, two], "y")}) == 4
    one.write_text("a")
    two.write_text("bc")
    assert hash_files([one, two], "x") != first
