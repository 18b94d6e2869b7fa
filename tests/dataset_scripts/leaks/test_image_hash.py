import io
import logging
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image, ImageOps

from dataset_scripts.leaks import image_hash
from dataset_scripts.leaks.image_hash import ImagePrints, hash_dataset, hash_files, perceptual_hash
from dataset_scripts.leaks.image_signature import bar_widths, image_signature, is_distinctive, signature_correlation
from dataset_scripts.leaks.near_duplicates import MAX_HASH_DISTANCE
from dataset_scripts.synthetic import render_person


@pytest.fixture(scope="module")
def people() -> list[Image.Image]:
    """Twelve pictures: three persons, four cameras each."""
    return [picture.image for person in range(3) for picture in render_person(7, person)]


@pytest.fixture
def files(people: list[Image.Image], tmp_path: Path) -> list[Path]:
    """The twelve pictures as files."""
    paths = [tmp_path / f"{number}.{'png' if number % 3 else 'jpg'}" for number in range(len(people))]
    for path, picture in zip(paths, people, strict=True):
        picture.save(path)
    return paths


def _again(image: Image.Image, kind: str = "JPEG", **save: object) -> Image.Image:
    """The image after a way through a file."""
    file = io.BytesIO()
    image.save(file, kind, **save)
    return Image.open(file)


def _bits_apart(one: np.ndarray, other: np.ndarray) -> int:
    return sum((int(a) ^ int(b)).bit_count() for a, b in zip(one, other, strict=True))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "PNG": lambda image: _again(image, "PNG"),
    "q50": lambda image: _again(image, quality=50),
    "q95": lambda image: _again(image, quality=95),
    "384x128": lambda image: _again(image.resize((128, 384)), quality=75),
    "half": lambda image: _again(image.resize((24, 72)), quality=75),
    "grey": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("copy", COPIES)
def test_copies_have_nearly_the_same_hash_and_signature(people: list[Image.Image], copy: str):
    for picture in people:
        other = COPIES[copy](picture)
        assert _bits_apart(perceptual_hash(picture), perceptual_hash(other)) <= MAX_HASH_DISTANCE
        pair = np.stack([image_signature(picture), image_signature(other)])
        bars = bar_widths(pair)
        assert signature_correlation(pair[:1], pair[1:], bars[:1], bars[1:])[0] > 0.98


def test_other_pictures_have_other_hashes(people: list[Image.Image]):
    hashes = [perceptual_hash(picture) for picture in people]
    apart = [_bits_apart(one, other) for row, one in enumerate(hashes) for other in hashes[:row]]
    assert min(apart) > 2 * MAX_HASH_DISTANCE


def test_hash_agrees_with_a_loop_over_cells(people: list[Image.Image]):
    for picture in people:
        grey = picture.convert("L")
        across, down = (grey.resize(size, Image.Resampling.BILINEAR) for size in ((9, 8), (8, 9)))
        bits = []
        for y in range(8):
            bits += [across.getpixel((x + 1, y)) - across.getpixel((x, y)) > 3 for x in range(8)]
        for y in range(8):
            bits += [down.getpixel((x, y + 1)) - down.getpixel((x, y)) > 3 for x in range(8)]
        words = perceptual_hash(picture).tolist()
        number = int.from_bytes(b"".join(word.to_bytes(8, "little") for word in words), "big")
        assert [bool(number >> (127 - place) & 1) for place in range(128)] == [bits[29 * k % 128] for k in range(128)]


def test_ramps_have_a_known_hash():
    ramp = Image.fromarray(np.linspace(0, 255, 90, dtype=np.uint8)[None].repeat(160, axis=0))
    right, down = perceptual_hash(ramp), perceptual_hash(ramp.transpose(Image.Transpose.ROTATE_270))
    assert np.bitwise_count(right).sum() == np.bitwise_count(down).sum() == 64
    assert _bits_apart(right, down) == 128
    assert not perceptual_hash(ramp.transpose(Image.Transpose.ROTATE_180)).any()


def test_brightness_and_little_steps_do_not_count():
    noise = np.random.default_rng(0).integers(90, 140, (16, 8), dtype=np.uint8)
    small, brighter = Image.fromarray(noise), Image.fromarray(noise + 40)
    # Cells are rounded on their own, so that a step may gain or lose one level.
    assert _bits_apart(perceptual_hash(small), perceptual_hash(brighter)) <= 2
    assert not perceptual_hash(Image.fromarray(noise % 3)).any()


def test_one_coloured_pictures_are_no_evidence():
    random = np.random.default_rng(0)
    wall = Image.fromarray(np.clip(random.normal(120, 3, (128, 64)), 0, 255).astype(np.uint8))
    down = Image.fromarray(np.linspace(0, 250, 128, dtype=np.uint8)[:, None].repeat(64, axis=1))
    night = np.add.outer(np.linspace(0, 12, 128), np.linspace(0, 12, 64)).astype(np.uint8)
    flat = [Image.new("RGB", (64, 128), "grey"), wall, down, down.rotate(90, expand=True)]
    flat += [ImageOps.pad(wall, size, color=0) for size in ((128, 128), (150, 128), (64, 200), (128, 144))]
    narrow = Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).resize((64, 64))
    flat += [ImageOps.pad(narrow, (64, 460), color=0)]  # four lines of cells are left
    signatures = np.stack([image_signature(picture) for picture in (*flat, Image.fromarray(night))])
    assert is_distinctive(signatures, bar_widths(signatures)).tolist() == [False] * len(flat) + [True]


def test_bars_are_counted_and_left_out():
    random = np.random.default_rng(1)
    one, other = random.integers(0, 256, (2, 36, 12), dtype=np.uint8)
    for signature in (one, other):
        signature[30:] = 128
        signature[:, :2], signature[:, 2], signature[:, 9:] = 250, 128, 0
    pair = np.stack([one, other])
    bars = bar_widths(pair)
    assert bars.tolist() == [[2, 3, 0, 0]] * 2  # the lower lines are of three colours
    expected = np.corrcoef(one[:, 3:8].ravel(), other[:, 3:8].ravel())[0, 1]
    assert signature_correlation(pair[:1], pair[1:], bars[:1], bars[1:]) == pytest.approx([expected])
    no_bars = np.zeros((1, 4), np.int8)
    whole = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    # What one has and the other has not is compared.
    assert signature_correlation(pair[:1], pair[1:], bars[:1], no_bars) == pytest.approx([whole])
    assert whole > expected + 0.3


def test_correlation_of_a_flat_signature_is_zero():
    flat = np.full((1, 36, 12), 90, np.uint8)
    bars = bar_widths(flat)
    assert bars.tolist() == [[12, 12, 36, 36]]
    assert signature_correlation(flat, flat, bars, bars) == [0]


def test_files_that_cannot_be_read_are_marked(files: list[Path], caplog: pytest.LogCaptureFixture):
    whole = hash_files(files)
    assert whole.readable.all() and whole.distinctive.all()
    files[0].unlink()
    files[1].write_bytes(b"")
    files[2].write_bytes(b"no image")
    files[3].write_bytes(files[3].read_bytes()[:-2000])
    Image.fromarray(np.full((9, 9), 3000, np.uint16)).save(files[4])
    caplog.set_level(logging.WARNING)
    prints = hash_files(files)
    assert prints.readable.tolist() == [False] * 5 + [True] * 7
    assert np.array_equal(prints.hashes[5:], whole.hashes[5:])
    assert not prints.hashes[:5].any() and not prints.distinctive[:5].any()
    assert "5 of 12 images cannot be read" in caplog.text


def test_files_are_upright_before_they_are_hashed(people: list[Image.Image], tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise when shown
    people[0].rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    people[0].save(tmp_path / "upright.png")
    turned, upright = hash_files([tmp_path / "turned.png", tmp_path / "upright.png"]).hashes
    assert np.array_equal(turned, upright)


def test_a_large_jpeg_is_decoded_small_and_hashed_alike(people: list[Image.Image], tmp_path: Path):
    large = people[0].resize((480, 1440), Image.Resampling.BICUBIC)
    large.save(tmp_path / "large.jpg", quality=90)
    prints = hash_files([tmp_path / "large.jpg"])
    assert _bits_apart(prints.hashes[0], perceptual_hash(large)) <= 2


def test_processes_give_the_same_in_the_same_order(files: list[Path], monkeypatch: pytest.MonkeyPatch):
    started = []

    class CountedPool(ProcessPoolExecutor):
        def __init__(self, workers: int):
            started.append(workers)
            super().__init__(workers)

    files = files * 25  # more than a process takes at once
    monkeypatch.setattr(image_hash, "ProcessPoolExecutor", CountedPool)
    alone, together = hash_files(files), hash_files([str(path) for path in files], num_proc=2, progress=False)
    assert started == [2]
    assert np.array_equal(alone.hashes, together.hashes)
    assert np.array_equal(alone.signatures, together.signatures)
    assert len(hash_files([], num_proc=2)) == 0


def test_number_of_processes_is_checked():
    dataset = datasets.Dataset.from_dict({"image": ["a.jpg"]})
    for work in (lambda: hash_files(["a.jpg"], num_proc=0), lambda: hash_dataset(dataset, num_proc=0)):
        with pytest.raises(ValueError, match="num_proc is 0: it must be an integer, at least 1"):
            work()


def _rows(rows: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    yield from rows


def _load(files: list[Path], folder: Path) -> datasets.Dataset:
    rows = [{"image": str(path), "image_id": letter} for path, letter in zip(files, "abcdefghijkl", strict=True)]
    features = datasets.Features({"image": datasets.Image(), "image_id": datasets.Value("string")})
    return datasets.Dataset.from_generator(_rows, gen_kwargs={"rows": rows}, features=features, cache_dir=str(folder))


@pytest.fixture
def stored(files: list[Path], tmp_path: Path) -> datasets.Dataset:
    """The twelve files as a data set on disk, where results are kept."""
    return _load(files, tmp_path)


def _forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes, name: str) -> None:
        raise AssertionError(f"{name} is decoded again")

    monkeypatch.setattr(image_hash, "open_image", fail)


def test_a_data_set_is_hashed_once(
    stored: datasets.Dataset, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    prints, expected = hash_dataset(stored), hash_files(files)
    assert np.array_equal(prints.hashes, expected.hashes) and prints.hashes.dtype == np.uint64
    assert np.array_equal(prints.signatures, expected.signatures) and prints.readable.all()
    _forbid_decoding(monkeypatch)
    again = hash_dataset(_load(files, tmp_path))
    assert np.array_equal(again.hashes, expected.hashes)
    with pytest.raises(AssertionError, match="decoded again"):
        hash_dataset(stored.select([3, 1]))


def test_another_image_file_is_noticed(stored: datasets.Dataset, files: list[Path]):
    before = hash_dataset(stored)
    shutil.copy(files[5], files[4])
    after = hash_dataset(stored)
    assert np.array_equal(after.hashes[4], before.hashes[5])
    files[5].unlink()
    assert np.flatnonzero(~hash_dataset(stored).readable).tolist() == [5]


def test_rows_of_a_selection_and_in_two_processes(stored: datasets.Dataset, files: list[Path]):
    expected = hash_files(files)
    assert np.array_equal(hash_dataset(stored.select([7, 2, 2])).hashes, expected.hashes[[7, 2, 2]])
    assert np.array_equal(hash_dataset(stored.select(range(11, -1, -1)), num_proc=2).hashes, expected.hashes[::-1])
    assert len(hash_dataset(stored.select([]))) == 0


def test_images_in_the_table_are_hashed_too(files: list[Path]):
    rows = [{"bytes": path.read_bytes(), "path": path.name} for path in files[:3]] + [
        {"bytes": b"bad", "path": "a.jpg"}
    ]
    features = datasets.Features({"image": datasets.Image()})
    prints = hash_dataset(datasets.Dataset.from_dict({"image": rows}, features=features))
    assert prints.readable.tolist() == [True, True, True, False]
    assert np.array_equal(prints.hashes[:3], hash_files(files[:3]).hashes)


def test_prints_are_selected_and_joined(files: list[Path]):
    prints = hash_files(files)
    joined = ImagePrints.concatenate([prints.select(slice(6)), prints.select(np.arange(6, 12))])
    assert np.array_equal(joined.hashes, prints.hashes) and np.array_equal(joined.signatures, prints.signatures)
    assert len(ImagePrints.concatenate([])) == 0
