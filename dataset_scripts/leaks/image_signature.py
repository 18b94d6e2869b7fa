"""A small grey thumbnail of a picture, and the rule by which two of them show the same picture.

The rule: the grey values of the two thumbnails, bars left out, correlate by `SAME_PICTURE_CORRELATION` or more.

Bars are lines of one colour at an edge, as padding to another shape makes them. They have to be left out: two persons
padded to a square with white agree on most of the area and would pass for one picture.
`benchmarks/near_duplicates.py` measures the rule; its results are the reason for the numbers here.
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
    """Returns the thumbnail of an image, `(36, 12)`, uint8: each cell the weighted mean of its surroundings."""
    return np.asarray(image.convert("L").resize(SIGNATURE_SHAPE[::-1], Image.Resampling.BILINEAR))


def bar_widths(signatures: np.ndarray) -> np.ndarray:
    """Counts the lines of the bars at the left, right, top and bottom edge.

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
    """Says which pictures can be told from others: those with contrast between their bars, both across and down.

    Two images of one colour, or two plain gradients, are equal without being the same picture, and what noise is left
    in them means nothing; so they are no evidence of anything. Contrast in one direction alone is also what a bar
    leaves in the cells next to it.

    Args:
        signatures: `(images, 36, 12)`, uint8.
        bars: `(images, 4)`, what `bar_widths` says of them.

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
    """Correlates signatures pair by pair.

    Lines that belong to a bar in both are left out, and the line next to them, which is half bar.

    Args:
        left, right: `(pairs, 36, 12)`, uint8. Some thousands at a time: the work needs 8 KB a pair.
        left_bars, right_bars: `(pairs, 4)`, what `bar_widths` says of them.

    Returns:
        `(pairs,)`, float64, from -1 to 1; 0 where one of the two has no contrast.
    """
    inside = _between_bars(np.minimum(left_bars, right_bars))
    cells = inside.sum((1, 2))
    left, right = _flat_values(left, inside), _flat_values(right, inside)
    scale = np.sqrt(_covariance(left, left, cells) * _covariance(right, right, cells))
    return np.divide(_covariance(left, right, cells), scale, out=np.zeros_like(scale), where=scale > 0)


def _leading_lines(lines: np.ndarray) -> np.ndarray:
    """Counts how many lines from the first on have its colour, `(images, lines, cells)` -> `(images,)`."""
    means = lines.mean(2, dtype=np.float32)
    plain = (np.ptp(lines, axis=2) <= _BAR_RANGE) & (np.abs(means - means[:, :1]) <= _BAR_RANGE)
    return np.logical_and.accumulate(plain, axis=1).sum(1)


def _between_bars(widths: np.ndarray) -> np.ndarray:
    """Marks the cells that are neither in a bar nor next to one, `(images, 36, 12)`, bool."""
    left, right, top, bottom = (widths + (widths > 0)).T[:, :, None]
    height, width = SIGNATURE_SHAPE
    rows, columns = np.arange(height), np.arange(width)
    upright = (rows >= top) & (rows < height - bottom)
    across = (columns >= left) & (columns < width - right)
    return upright[:, :, None] & across[:, None, :]


def _spread(signatures: np.ndarray, inside: np.ndarray, axis: int) -> np.ndarray:
    """Sums the squared differences of the cells `inside` from the means along an axis, `(images,)`, float32."""
    values = np.where(inside, signatures, np.float32(0))
    means = values.sum(axis, keepdims=True) / np.maximum(inside.sum(axis, keepdims=True), 1, dtype=np.float32)
    return np.square(np.where(inside, values - means, np.float32(0))).sum((1, 2))


def _flat_values(signatures: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Returns the values as `(images, cells)`, float64, with 0 outside."""
    return (signatures * inside).reshape(len(signatures), SIGNATURE_SHAPE[0] * SIGNATURE_SHAPE[1]).astype(np.float64)


def _covariance(left: np.ndarray, right: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Returns the covariance of each pair over its `cells`, whole numbers throughout up to the division."""
    products = cells * np.vecdot(left, right) - left.sum(1) * right.sum(1)
    return products / np.maximum(cells, 1) ** 2
