"""Search millions of hashes exactly for near duplicates, and confirm equal pictures.

    >>> prints = hash_files(paths)
    >>> pairs = same_pictures(prints)
    >>> [(paths[i], paths[j]) for i, j in zip(pairs.left, pairs.right)]

Two hashes that differ in d bits, cut into d + 1 bands, agree in at least one band: only hashes that share a band are
compared. One block of candidates is in memory at a time.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from datasets.utils import tqdm

from dataset_scripts.leaks.image_hash import HASH_BITS, ImagePrints
from dataset_scripts.leaks.image_signature import SAME_PICTURE_CORRELATION, signature_correlation

__all__ = ["MAX_HASH_DISTANCE", "NearPairs", "near_pair_blocks", "near_pairs", "same_pictures"]

MAX_HASH_DISTANCE = 9
"""Bits in which the hashes of one picture may differ. In the benchmark 99.8 % or more of the copies encoded again or
resized lie within it, and no two different pictures unless padded alike; more bits make the search slower."""

_WORD_BITS = 64
# So many that the arrays stay in the processor's cache.
_CANDIDATES_AT_ONCE = 1 << 16
_SIGNATURES_AT_ONCE = 4096


class NearPairs(NamedTuple):
    """Pairs of rows whose hashes are near."""

    left: np.ndarray  # left, right: `(pairs,)`, int64; within one set, `left < right`
    right: np.ndarray
    distance: np.ndarray  # `(pairs,)`, uint8: number of differing bits


class _Band(NamedTuple):
    """Bits `start` to `stop` (exclusive) of a hash, within one word."""

    start: int
    stop: int

    def of(self, hashes: np.ndarray) -> np.ndarray:
        word, shift = divmod(self.start, _WORD_BITS)
        return hashes[:, word] >> np.uint64(shift) & np.uint64((1 << (self.stop - self.start)) - 1)


class _Buckets(NamedTuple):
    """Matches of a band: `left[k]` with `right[first[k]]` and the next `count[k] - 1` rows."""

    left: np.ndarray
    right: np.ndarray
    first: np.ndarray
    count: np.ndarray


def near_pairs(left: np.ndarray, right: np.ndarray | None, max_distance: int) -> NearPairs:
    """Find all pairs that differ in at most `max_distance` bits, sorted by row.

    k equal hashes in one set give k (k - 1) / 2 pairs: for thousands of them, use `near_pair_blocks` or
    `same_pictures`.

    Args:
        left: `(n, 2)`, uint64.
        right: `(m, 2)`, uint64; None searches within `left`, each pair once.
        max_distance: 0 to 64.

    Raises ValueError, TypeError: an argument is out of range, or of another shape or type.
    """
    blocks = list(near_pair_blocks(left, right, max_distance))
    pairs = NearPairs(*map(np.concatenate, zip(*blocks, strict=True))) if blocks else _no_pairs()
    order = np.lexsort((pairs.right, pairs.left))
    return NearPairs(*(column[order] for column in pairs))


def near_pair_blocks(left: np.ndarray, right: np.ndarray | None, max_distance: int) -> Iterator[NearPairs]:
    """Yield the pairs of `near_pairs` unsorted, in blocks of at most 65,536.

    Compares all pairs if so many hashes share bands that this is less work.
    """
    _check_hashes("left", left)
    if right is not None:
        _check_hashes("right", right)
    if not 0 <= max_distance <= HASH_BITS // 2:
        raise ValueError(f"max_distance is {max_distance}, but must be 0 to {HASH_BITS // 2}.")
    bands = _bands(max_distance)
    pairs = len(left) * (len(left) - 1) // 2 if right is None else len(left) * len(right)
    if sum(int(_buckets(band, left, right).count.sum()) for band in bands) > pairs:
        bands = [_Band(0, 0)]
    for number in tqdm(range(len(bands)), desc="Comparing hashes", unit=" bands", delay=2):
        yield from _pairs_of_band(left, right, bands[: number + 1], max_distance)


def same_pictures(left: ImagePrints, right: ImagePrints | None = None) -> NearPairs:
    """Find pictures on both sides, or repeated in one set, by hash and signature.

    Plain and unreadable images are not compared.

    Args:
        left: the images.
        right: other images; None searches within `left`.

    Returns:
        Enough pairs to include every repeated image, but not all pairs: one is omitted if both its images are in
            others, so there are at most two pairs per image.
    """
    within = right is None
    right = left if within else right
    left_rows, right_rows = np.flatnonzero(left.distinctive), np.flatnonzero(right.distinctive)
    left_found = np.zeros(len(left), bool)
    right_found = left_found if within else np.zeros(len(right), bool)
    found = []
    right_hashes = None if within else right.hashes[right_rows]
    for block in near_pair_blocks(left.hashes[left_rows], right_hashes, MAX_HASH_DISTANCE):
        block = NearPairs(left_rows[block.left], right_rows[block.right], block.distance)
        block = _chosen(block, ~(left_found[block.left] & right_found[block.right]))
        for start in range(0, len(block.left), _SIGNATURES_AT_ONCE):
            part = _chosen(block, slice(start, start + _SIGNATURES_AT_ONCE))
            part = _chosen(part, ~(left_found[part.left] & right_found[part.right]))
            part = _confirmed(part, left, right)
            new_left, new_right = ~left_found[part.left], ~right_found[part.right]
            part = _chosen(part, new_left & _is_first(part.left) | new_right & _is_first(part.right))
            left_found[part.left] = right_found[part.right] = True
            found.append(part)
    return NearPairs(*map(np.concatenate, zip(_no_pairs(), *found, strict=True)))


def _check_hashes(name: str, hashes: np.ndarray) -> None:
    if hashes.dtype != np.uint64:
        raise TypeError(f"{name} holds {hashes.dtype}, but hashes are uint64.")
    if hashes.ndim != 2 or hashes.shape[1] != 2:
        raise ValueError(f"{name} has shape {hashes.shape}, but hashes have shape (n, 2).")


def _bands(max_distance: int) -> list[_Band]:
    edges = [HASH_BITS * number // (max_distance + 1) for number in range(max_distance + 2)]
    return [_Band(start, min(stop, start + _WORD_BITS)) for start, stop in zip(edges[:-1], edges[1:], strict=True)]


def _buckets(band: _Band, left: np.ndarray, right: np.ndarray | None) -> _Buckets:
    """Match rows by a band; within one set, each with later rows of its band only."""
    left_keys, left_order = _sorted(band.of(left))
    if right is None:
        first = np.arange(1, len(left) + 1)
        return _Buckets(left_order, left_order, first, np.searchsorted(left_keys, left_keys, "right") - first)
    # The keys looked up are sorted as well: neighbours then end at the same place, many times faster.
    right_keys, right_order = _sorted(band.of(right))
    first = np.searchsorted(right_keys, left_keys, "left")
    return _Buckets(left_order, right_order, first, np.searchsorted(right_keys, left_keys, "right") - first)


def _sorted(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(keys, kind="stable")
    return keys[order], order


def _pairs_of_band(
    left: np.ndarray, right: np.ndarray | None, bands: list[_Band], max_distance: int
) -> Iterator[NearPairs]:
    """Yield near pairs equal in the last band of `bands` and in no earlier one."""
    buckets = _buckets(bands[-1], left, right)
    # Candidates are counted through, bucket after bucket; those of bucket k have the numbers below ends[k].
    ends = np.cumsum(buckets.count)
    offset = buckets.first - ends + buckets.count
    total = int(ends[-1]) if len(ends) else 0
    for start in range(0, total, _CANDIDATES_AT_ONCE):
        stop = min(start + _CANDIDATES_AT_ONCE, total)
        owners = np.arange(np.searchsorted(ends, start, "right"), np.searchsorted(ends, stop - 1, "right") + 1)
        owner = np.repeat(owners, np.diff(np.minimum(ends[owners], stop), prepend=start))
        rows = buckets.left[owner]
        others = buckets.right[np.arange(start, stop) + offset[owner]]
        yield _near(rows, others, left, left if right is None else right, bands[:-1], max_distance)


def _near(
    rows: np.ndarray,
    others: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    earlier: list[_Band],
    max_distance: int,
) -> NearPairs:
    """Keep near pairs that no earlier band has found."""
    difference = np.zeros((len(rows), 2), np.uint64)
    distance = np.zeros(len(rows), np.uint8)
    # Most pairs fall out at the first word.
    for word in range(2):
        difference[:, word] = left[rows, word] ^ right[others, word]
        distance += np.bitwise_count(difference[:, word])
        near = np.flatnonzero(distance <= max_distance)
        rows, others, difference, distance = rows[near], others[near], difference[near], distance[near]
    for band in earlier:
        new = np.flatnonzero(band.of(difference))
        rows, others, difference, distance = rows[new], others[new], difference[new], distance[new]
    return NearPairs(rows, others, distance)


def _confirmed(pairs: NearPairs, left: ImagePrints, right: ImagePrints) -> NearPairs:
    first, second = pairs.left, pairs.right
    correlation = signature_correlation(
        left.signatures[first], right.signatures[second], left.bars[first], right.bars[second]
    )
    return _chosen(pairs, correlation >= SAME_PICTURE_CORRELATION)


def _chosen(pairs: NearPairs, which: np.ndarray | slice) -> NearPairs:
    return NearPairs(*(column[which] for column in pairs))


def _is_first(rows: np.ndarray) -> np.ndarray:
    """Mark the first place of each value, bool."""
    first = np.zeros(len(rows), bool)
    first[np.unique(rows, return_index=True)[1]] = True
    return first


def _no_pairs() -> NearPairs:
    return NearPairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8))
