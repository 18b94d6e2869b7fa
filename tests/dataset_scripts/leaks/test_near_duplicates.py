import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from dataset_scripts.leaks.image_hash import ImagePrints, perceptual_hash
from dataset_scripts.leaks.image_signature import image_signature
from dataset_scripts.leaks.near_duplicates import near_pair_blocks, near_pairs, same_pictures
from dataset_scripts.synthetic import render_person

# Few bits are ever set, so that equal bands and near pairs are common.
SPARSE = st.integers(0, 2**9 - 1).map(lambda bits: sum((bits >> k & 1) << (7 * k) for k in range(9)))
HASHES = st.integers(0, 12).flatmap(lambda rows: arrays(np.uint64, (rows, 2), elements=SPARSE))


def _brute_force(left: np.ndarray, right: np.ndarray | None, max_distance: int) -> list[tuple[int, int, int]]:
    """Every pair, one bit at a time."""
    pairs = []
    for i, one in enumerate(left.tolist()):
        for j, other in enumerate((left if right is None else right).tolist()):
            apart = sum(bin(a ^ b).count("1") for a, b in zip(one, other, strict=True))
            if apart <= max_distance and (right is not None or i < j):
                pairs.append((i, j, apart))
    return pairs


def _found(left: np.ndarray, right: np.ndarray | None, max_distance: int) -> list[tuple[int, int, int]]:
    return [tuple(map(int, pair)) for pair in zip(*near_pairs(left, right, max_distance), strict=True)]


@settings(deadline=None, max_examples=60)
@given(left=HASHES, right=st.none() | HASHES, max_distance=st.sampled_from([0, 1, 2, 5, 9, 12, 64]))
def test_pairs_are_those_of_brute_force(left: np.ndarray, right: np.ndarray | None, max_distance: int):
    assert _found(left, right, max_distance) == _brute_force(left, right, max_distance)


def _turned(hashes: np.ndarray, bits: int, random: np.random.Generator) -> np.ndarray:
    """The hashes with so many different bits turned over."""
    turned = hashes.copy()
    for row in turned:
        for bit in random.permutation(128)[:bits]:
            row[bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return turned


@pytest.mark.parametrize("distance", [0, 1, 4, 9])
def test_planted_pairs_are_found_and_no_others(distance: int):
    random = np.random.default_rng(distance)
    left = random.integers(0, 2**64, (500, 2), dtype=np.uint64)
    near, far = _turned(left[:100], distance, random), _turned(left[100:200], distance + 1, random)
    right = np.concatenate([far, near])
    assert _found(left, right, distance) == [(row, row + 100, distance) for row in range(100)]
    whole = np.concatenate([left, near, far])
    assert _found(whole, None, distance) == [(row, row + 500, distance) for row in range(100)]


def test_equal_hashes_are_paired_once_each_block_by_block():
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, (400, 2), dtype=np.uint64)
    hashes[10:390] = hashes[10]
    blocks = list(near_pair_blocks(hashes, None, 3))
    assert max(len(block.left) for block in blocks) <= 65_536 < sum(len(block.left) for block in blocks)
    assert sum(len(block.left) for block in blocks) == 380 * 379 // 2
    assert _found(hashes, None, 3) == _brute_force(hashes, None, 3)


def test_bands_that_tell_nothing_cost_no_more_than_all_pairs():
    hashes = np.zeros((200, 2), np.uint64)
    hashes[:, 0] = np.arange(200)
    assert _found(hashes, None, 9) == _brute_force(hashes, None, 9)
    assert len(list(near_pair_blocks(hashes, None, 9))) == 1  # one pass over all pairs, and not one for each band


def test_arguments_are_checked():
    hashes = np.zeros((2, 2), np.uint64)
    with pytest.raises(ValueError, match="max_distance is 65, but must be 0 to 64"):
        near_pairs(hashes, None, 65)
    with pytest.raises(TypeError, match="right holds int64, but hashes are uint64"):
        near_pairs(hashes, np.zeros((2, 2), np.int64), 3)
    with pytest.raises(ValueError, match=r"left has shape \(2,\)"):
        near_pairs(hashes[0], None, 3)


@pytest.fixture(scope="module")
def people() -> list[Image.Image]:
    """Forty pictures: ten persons, four cameras each."""
    return [picture.image for person in range(10) for picture in render_person(3, person)]


def _prints(pictures: list[Image.Image]) -> ImagePrints:
    hashes = np.stack([perceptual_hash(picture) for picture in pictures])
    signatures = np.stack([image_signature(picture) for picture in pictures])
    return ImagePrints(hashes, signatures, np.ones(len(pictures), bool))


def _encoded(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.resize((128, 384)).save(file, "JPEG", quality=60)
    return Image.open(file)


def test_copies_are_found_and_other_pictures_are_not(people: list[Image.Image]):
    prints = _prints(people)
    copies = _prints([_encoded(people[row]) for row in (5, 30, 5)])
    pairs = same_pictures(prints, copies)
    assert sorted(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)) == [(5, 0), (5, 2), (30, 1)]
    apart = [np.bitwise_count(prints.hashes[i] ^ copies.hashes[j]).sum() for i, j in zip(*pairs[:2], strict=True)]
    assert pairs.distance.tolist() == apart
    within = same_pictures(ImagePrints.concatenate([copies, prints]))
    assert set(zip(within.left.tolist(), within.right.tolist(), strict=True)) >= {(0, 2), (1, 33)}
    assert set(within.left) | set(within.right) == {0, 1, 2, 8, 33}


@pytest.mark.parametrize("colour", ["black", "white"])
def test_different_pictures_padded_alike_are_not_the_same(people: list[Image.Image], colour: str):
    padded = _prints([ImageOps.pad(picture, (144, 144), color=colour) for picture in people])
    assert len(near_pairs(padded.hashes, None, 9).left)  # the hash alone is taken in
    assert not len(same_pictures(padded).left)
    assert len(same_pictures(padded, padded).left) == len(people)


def test_plain_pictures_are_no_pairs():
    gradient = Image.linear_gradient("L")
    flat = _prints([*(Image.new("L", (20, 60), grey) for grey in (0, 0, 90, 255)), gradient, gradient])
    assert not len(same_pictures(flat).left) and not len(same_pictures(flat, flat).left)


def test_unreadable_pictures_are_no_pairs(people: list[Image.Image]):
    prints = _prints([people[0]] * 3)
    prints.readable[1] = False
    pairs = same_pictures(prints)
    assert (pairs.left.tolist(), pairs.right.tolist()) == ([0], [2])


@pytest.mark.parametrize("right", [None, 50])
def test_the_answer_stays_short_for_a_picture_that_is_there_many_times(people: list[Image.Image], right: int | None):
    many = _prints(people[:2]).select(np.array([0] * 300 + [1]))
    other = None if right is None else many.select(np.arange(300 - right, 300))
    pairs = same_pictures(many, other)
    assert set(pairs.left) | (set() if other else set(pairs.right)) == set(range(300))
    assert other is None or set(pairs.right) == set(range(right))
    assert len(pairs.left) <= 600
