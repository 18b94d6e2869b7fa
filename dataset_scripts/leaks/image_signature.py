"""Grey thumbnails, and the rule by which two show the same picture.

The rule: their grey values, without bars, correlate by at least `SAME_PICTURE_CORRELATION`.

Bars are lines of one colour at an edge, as from padding. They are excluded because two persons padded to a square with
white agree on most of the area. The numbers here come from `benchmarks/data/near_duplicates.py`.
"""

import numpy as np
from PIL import Image

__all__ = [
    "SAME_PICTURE_CORRELATION",
    "SIGNATURE_SHAPE",
    "bar_widths",
    "image_signature",
    "is_distinctive",
    "signature_correlation",
]

SIGNATURE_SHAPE = (36, 12)
"""Height and width: a finer one sees the noise of strong compression, a coarser one confuses padded pictures."""

SAME_PICTURE_CORRELATION = 0.975
"""In the benchmark every copy encoded again or resized lies above it, and 98 % of those cut by 1 % at each edge. No
pair of different pictures with near hashes does, even padded alike."""

# Grey levels (of 255) within which a line counts as of one colour: the ringing of JPEG is inside.
_BAR_RANGE = 6
# A picture with less contrast in one direction (standard deviation in grey levels around the means of its lines), or
# with fewer cells between its bars, is no evidence.
_LEAST_CONTRAST = 2.0
_LEAST_CELLS = SIGNATURE_SHAPE[0] * SIGNATURE_SHAPE[1] // 8
_AT_ONCE = 8192


def image_signature(image: Image.Image) -> np.ndarray:
    """Return the thumbnail of an image, `(36, 12)`, uint8."""
    return np.asarray(image.convert("L").resize(SIGNATURE_SHAPE[::-1], Image.Resampling.BILINEAR))


def bar_widths(signatures: np.ndarray) -> np.ndarray:
    """Count the bar lines at the left, right, top and bottom edge.

    Args:
        signatures: `(images, 36, 12)`, uint8.

    Returns:
        `(images, 4)`, int8; an image of one colour is all bar.
    """
    widths = np.zeros((len(signatures), 4), np.int8)
    for start in range(0, len(signatures), _AT_ONCE):
        part = signatures[start : start + _AT_ONCE]
        columns = part.transpose(0, 2, 1)
        edges = (columns, columns[:, ::-1], part, part[:, ::-1])
        widths[start : start + _AT_ONCE] = np.stack([_leading_lines(lines) for lines in edges], axis=1)
    return widths


def is_distinctive(signatures: np.ndarray, bars: np.ndarray) -> np.ndarray:
    """Mark pictures with contrast between their bars, both across and down.

    Plain images and plain gradients look equal without being the same picture, so they are no evidence. Contrast in
    one direction only is also what a bar leaves in the cells next to it.

    Args:
        signatures: `(images, 36, 12)`, uint8.
        bars: `(images, 4)`, from `bar_widths`.

    Returns:
        `(images,)`, bool.
    """
    distinctive = np.zeros(len(signatures), bool)
    for start in range(0, len(signatures), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        inside = _between_bars(bars[part])
        cells = inside.sum((1, 2))
        spreads = [_spread(signatures[part], inside, axis) for axis in (1, 2)]
        distinctive[part] = (cells >= _LEAST_CELLS) & (np.minimum(*spreads) >= _LEAST_CONTRAST**2 * cells)
    return distinctive


def signature_correlation(
    left: np.ndarray, right: np.ndarray, left_bars: np.ndarray, right_bars: np.ndarray
) -> np.ndarray:
    """Correlate signatures pair by pair, without the bars that both share.

    The line next to a bar, which is half bar, is excluded too.

    Args:
        left, right: `(pairs, 36, 12)`, uint8; a few thousand at a time, at 8 KB a pair.
        left_bars, right_bars: `(pairs, 4)`, from `bar_widths`.

    Returns:
        `(pairs,)`, float64, -1 to 1; 0 if either has no contrast.
    """
    inside = _between_bars(np.minimum(left_bars, right_bars))
    cells = inside.sum((1, 2))
    left, right = _flat_values(left, inside), _flat_values(right, inside)
    scale = np.sqrt(_covariance(left, left, cells) * _covariance(right, right, cells))
    return np.divide(_covariance(left, right, cells), scale, out=np.zeros_like(scale), where=scale > 0)


def _leading_lines(lines: np.ndarray) -> np.ndarray:
    """Count the leading lines of one colour, `(images, lines, cells)` -> `(images,)`."""
    means = lines.mean(2, dtype=np.float32)
    plain = (np.ptp(lines, axis=2) <= _BAR_RANGE) & (np.abs(means - means[:, :1]) <= _BAR_RANGE)
    return np.logical_and.accumulate(plain, axis=1).sum(1)


def _between_bars(widths: np.ndarray) -> np.ndarray:
    """Mark cells neither in nor next to a bar, `(images, 36, 12)`, bool."""
    left, right, top, bottom = (widths + (widths > 0)).T[:, :, None]
    height, width = SIGNATURE_SHAPE
    rows, columns = np.arange(height), np.arange(width)
    upright = (rows >= top) & (rows < height - bottom)
    across = (columns >= left) & (columns < width - right)
    return upright[:, :, None] & across[:, None, :]


def _spread(signatures: np.ndarray, inside: np.ndarray, axis: int) -> np.ndarray:
    """Sum squared deviations from the means along an axis, `(images,)`, float32."""
    values = np.where(inside, signatures, np.float32(0))
    means = values.sum(axis, keepdims=True) / np.maximum(inside.sum(axis, keepdims=True), 1, dtype=np.float32)
    return np.square(np.where(inside, values - means, np.float32(0))).sum((1, 2))


def _flat_values(signatures: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return (signatures * inside).reshape(len(signatures), SIGNATURE_SHAPE[0] * SIGNATURE_SHAPE[1]).astype(np.float64)


def _covariance(left: np.ndarray, right: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return each pair's covariance over its `cells`, in whole numbers until the division."""
    products = cells * np.vecdot(left, right) - left.sum(1) * right.sum(1)
    return products / np.maximum(cells, 1) ** 2
