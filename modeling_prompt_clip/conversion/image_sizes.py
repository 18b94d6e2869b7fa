"""Image size of a checkpoint, whose positions only tell how many patches."""

import math
from dataclasses import dataclass

from modeling_prompt_clip.configuration_prompt_clip import as_image_size

__all__ = ["ImageSize", "find_image_size"]

# sizes of the field and of CLIP, to recognise patches that overlap
_USUAL_SIZES = ((384, 128), (256, 128), (224, 224))
_HIGHEST = 4  # times as high as wide: other sizes are not named


@dataclass(frozen=True)
class ImageSize:
    """An image size and how it was found."""

    height_width: tuple[int, int]  # in pixels
    why: str  # in words
    # further sizes with as many patches, empty where the size was given or is known
    others: tuple[tuple[int, int], ...] = ()


def find_image_size(
    positions: int,
    patch_size: int,
    wanted: tuple[int, int] | None = None,
    known: tuple[tuple[int, int], str] | None = None,
) -> ImageSize:
    """Find the image size in pixels with as many patches as `positions`.

    `positions` exclude the class token's. `known` is a size that the checkpoint names, and where; it is ignored if it
    does not fit.

    Raises ValueError: positions of another size, of overlapping patches, or of no size that can be told.
    """
    if wanted is not None:
        height, width = as_image_size(list(wanted), patch_size)
        if height // patch_size * (width // patch_size) != positions:
            raise ValueError(
                f"image_size {list(wanted)} makes {height // patch_size} x {width // patch_size} patches of "
                f"{patch_size} pixels, the checkpoint has positions for {positions}{_overlap(positions, patch_size)}; "
                "give the size that it was trained at"
            )
        return ImageSize((height, width), "as given")
    if known is not None and math.prod(side // patch_size for side in known[0]) == positions:
        return ImageSize(known[0], known[1])
    fitting = _fitting(positions, patch_size)
    for rows_a_column in (1, 3):  # 224x224, or 384x128
        columns = math.isqrt(positions // rows_a_column)
        size = (rows_a_column * columns * patch_size, columns * patch_size)
        if columns * columns * rows_a_column == positions and columns:
            if rows_a_column == 3 and _overlap(positions, patch_size):
                break
            why = "a square" if rows_a_column == 1 else "three times as high as wide"
            return ImageSize(size, why, tuple(other for other in fitting if other != size))
    sizes = ", ".join(f"{height} {width}" for height, width in fitting) or "none that is usual"
    raise ValueError(
        f"the checkpoint has positions for {positions} patches of {patch_size} pixels, whose rows it does not tell"
        f"{_overlap(positions, patch_size)}; without overlap, give the image_size that it was trained at, of those "
        f"that fit: {sizes}"
    )


def _fitting(positions: int, patch_size: int) -> list[tuple[int, int]]:
    """Sizes with so many patches, at least as high as wide."""
    columns = [number for number in range(1, math.isqrt(positions) + 1) if positions % number == 0]
    grids = [(positions // number, number) for number in reversed(columns)]
    return [(rows * patch_size, columns * patch_size) for rows, columns in grids if rows <= _HIGHEST * columns]


def _overlap(positions: int, patch_size: int) -> str:
    """Describe a stride at which overlapping patches would fit, or nothing."""
    for height, width in _USUAL_SIZES:
        for stride in range(patch_size - 1, 0, -1):
            rows, columns = ((side - patch_size) // stride + 1 for side in (height, width))
            is_plain = (rows, columns) == (height // patch_size, width // patch_size)
            if rows * columns == positions and not is_plain:
                return (
                    f", as many as {rows} x {columns} overlapping patches of a {height}x{width} image have, one every "
                    f"{stride} pixels (stride_size {stride} in the IRRA family): overlapping patches cannot be had"
                )
    return ""
