"""Augmentations of pedestrian images: flip, pad and crop, erasing, colour jitter.

One call on the given generator draws all random numbers of an image, so a run's data depends on seed, epoch and row,
not on the number of workers.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor

from dataset_scripts.common.images import to_rgb
from dataset_scripts.common.numbers import check_integer, check_number

_PAD_HEIGHT = 384  # the image height at which `pad` is given
_ERASE_ASPECTS = (
    0.3,
    3.3,
)  # height over width of erased boxes: torchvision's range; arXiv 1708.04896 has 0.3 to 1 / 0.3
_GREY = (0.299, 0.587, 0.114)  # weights of red, green and blue in luma, ITU-R BT.601, as Pillow's mode L


def sample_generator(seed: int, epoch: int, index: int) -> Generator:
    """Return the random generator of one row in one epoch.

    `numpy.random.SeedSequence` mixes the numbers, the same on every platform. torch's generator takes 32 bits of seed,
    so one pair of rows in 2**32 shares a stream.

    Args:
        seed, epoch, index: of the run and of the row, 0 or more.

    Raises ValueError, TypeError: a number is negative or no integer.
    """
    for name, value in (("seed", seed), ("epoch", epoch), ("index", index)):
        check_integer(name, value, least=0)
    state = np.random.SeedSequence(seed, spawn_key=(epoch, index)).generate_state(1)
    return Generator().manual_seed(int(state[0]))


class TrainingTransform:
    """Turn an image into an augmented tensor for the vision tower.

    Steps: RGB, one resize, mirror, colour jitter, normalisation, pad and crop as one shift, erasing. Padding and
    erased boxes are 0 after normalisation, which is the mean colour; the field's code fills in the pixels' mean after
    normalisation, another colour. With all augmentations off the result equals `transformers.CLIPImageProcessorPil`
    bit for bit; Pillow's shortcuts for large images (`draft`, `reducing_gap`) change pixels, so they are not used.

    Args:
        image_size: height and width of the result in pixels.
        image_mean, image_std: by colour channel, of pixels in [0, 1]; the second above 0.
        flip: probability of mirroring left and right.
        pad: padding on each side before the random crop, in pixels of an image 384 high, scaled with the height; 0 or
            more, and scaled below the image's smaller side.
        erase: probability of erasing a box.
        erase_area: smallest and largest share of the image that a box covers, in (0, 1].
        color_jitter: x in [0, 1]; brightness, contrast and saturation are scaled by factors from 1 - x to 1 + x.
        resample: Pillow's filter.

    Raises ValueError, TypeError: a setting breaks its rule; the message names it.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_mean: Sequence[float],
        image_std: Sequence[float],
        *,
        flip: float = 0.5,
        pad: float = 10,
        erase: float = 0.5,
        erase_area: tuple[float, float] = (0.02, 0.4),
        color_jitter: float = 0.0,
        resample: Image.Resampling | int = Image.Resampling.BICUBIC,
    ):
        _check_lengths(image_size=(image_size, 2), image_mean=(image_mean, 3), image_std=(image_std, 3))
        self.height, self.width = image_size
        check_integer("image_size[0], the height,", self.height, least=1)
        check_integer("image_size[1], the width,", self.width, least=1)
        for channel in range(3):
            check_number(f"image_mean[{channel}]", image_mean[channel])
            check_number(f"image_std[{channel}]", image_std[channel], above=0)
        check_number("flip", flip, least=0, most=1)
        check_number("pad", pad, least=0)
        check_number("erase", erase, least=0, most=1)
        check_number("color_jitter", color_jitter, least=0, most=1)
        _check_lengths(erase_area=(erase_area, 2))
        check_number("erase_area[0]", erase_area[0], above=0, most=1)
        check_number("erase_area[1]", erase_area[1], least=erase_area[0], most=1)
        if resample not in list(Image.Resampling):
            known = ", ".join(f"{int(known)} ({known.name.lower()})" for known in Image.Resampling)
            raise ValueError(f"resample is {resample!r}: it must be one of Pillow's filters, {known}.")
        self.mean = torch.tensor(image_mean, dtype=torch.float32).view(3, 1, 1)
        self.std = torch.tensor(image_std, dtype=torch.float32).view(3, 1, 1)
        self.flip = flip
        self.pad = round(pad * self.height / _PAD_HEIGHT)
        if self.pad >= min(self.height, self.width):
            raise ValueError(
                f"pad is {pad:g}, {self.pad} pixels at {self.height}x{self.width}: it could move the whole image out "
                "of view; make it smaller."
            )
        self.erase = erase
        self.erase_area = erase_area
        self.color_jitter = color_jitter
        self.resample = resample

    def __call__(self, image: Image.Image, generator: Generator) -> Tensor:
        """Augment one image.

        Args:
            image: of any size and any mode that `to_rgb` knows; it does not change.
            generator: source of all random draws; always eleven numbers.

        Returns:
            `[3, height, width]`, float32, normalised.

        Raises:
            TypeError: `image` is no Pillow image.
            ValueError: its mode cannot be shown as RGB.
            OSError: its file cannot be decoded.
        """
        draws = _Draws(*torch.rand(len(_Draws._fields), generator=generator, dtype=torch.float64).tolist())
        resized = to_rgb(image).resize((self.width, self.height), self.resample)
        pixels = torch.from_numpy(np.array(resized))  # [height, width, 3], uint8
        if draws.flip < self.flip:
            pixels = pixels.flip(1)
        tensor = pixels.permute(2, 0, 1).contiguous().float().div_(255)
        if self.color_jitter:
            factors = [1 + self.color_jitter * (2 * draw - 1) for draw in draws[-3:]]
            tensor = jitter_color(tensor, *factors)
        tensor = tensor.sub_(self.mean).div_(self.std)
        tensor = shift(tensor, _integer(draws.down, self.pad), _integer(draws.right, self.pad))
        if draws.erase < self.erase:
            top, left, height, width = self._erased_box(draws)
            tensor[:, top : top + height, left : left + width] = 0
        return tensor

    def _erased_box(self, draws: "_Draws") -> tuple[int, int, int, int]:
        """Draw top, left, height and width of a box of uniform area and log-uniform aspect.

        An aspect that does not fit is changed and the area kept: the usual redrawing favours small boxes and takes an
        unknown number of draws.
        """
        smallest, largest = self.erase_area
        area = (smallest + (largest - smallest) * draws.area) * self.height * self.width
        low, high = (math.log(aspect) for aspect in _ERASE_ASPECTS)
        aspect = math.exp(low + (high - low) * draws.aspect)
        height = min(max(math.sqrt(area * aspect), area / self.width), self.height)
        rows, columns = max(1, round(height)), max(1, round(area / height))
        top, left = int(draws.top * (self.height - rows + 1)), int(draws.left * (self.width - columns + 1))
        return top, left, rows, columns


def shift(tensor: Tensor, down: int, right: int) -> Tensor:
    """Pad and crop in one copy: move an image by whole pixels, with zeros behind it.

    Args:
        tensor: `[channels, height, width]`.
        down, right: pixels to move, negative for up and left; absolutely less than height and width.
    """
    if down == 0 and right == 0:
        return tensor
    _, height, width = tensor.shape
    target = (slice(max(0, down), height + min(0, down)), slice(max(0, right), width + min(0, right)))
    source = (slice(max(0, -down), height + min(0, -down)), slice(max(0, -right), width + min(0, -right)))
    moved = torch.zeros_like(tensor)
    moved[:, *target] = tensor[:, *source]
    return moved


def jitter_color(pixels: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    """Scale brightness (from black), contrast (from mean grey), then saturation (from each pixel's grey).

    Args:
        pixels: `[3, height, width]` in [0, 1].
        brightness, contrast, saturation: factors, 0 or more; 1 changes nothing.

    Returns:
        `[3, height, width]`; each step clips to [0, 1] like Pillow's `ImageEnhance`.
    """
    grey = torch.tensor(_GREY, dtype=pixels.dtype).view(3, 1, 1)
    pixels = (pixels * brightness).clamp_(0, 1)
    mean_grey = (pixels * grey).sum(dim=0).mean()
    torch.lerp(mean_grey.expand_as(pixels), pixels, contrast, out=pixels).clamp_(0, 1)
    own_grey = (pixels * grey).sum(dim=0, keepdim=True)
    return torch.lerp(own_grey.expand_as(pixels), pixels, saturation, out=pixels).clamp_(0, 1)


class _Draws(NamedTuple):
    """Uniform numbers in [0, 1) for one image."""

    flip: float
    down: float
    right: float
    erase: float
    area: float
    aspect: float
    top: float
    left: float
    brightness: float
    contrast: float
    saturation: float


def _integer(draw: float, bound: int) -> int:
    """Map a uniform number in [0, 1) to a uniform integer from -bound to bound."""
    return int(draw * (2 * bound + 1)) - bound


def _check_lengths(**settings: tuple[Sequence[float], int]) -> None:
    for name, (value, length) in settings.items():
        if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != length:
            raise ValueError(f"{name} is {value!r}: it must hold {length} numbers.")


__all__ = ["TrainingTransform", "jitter_color", "sample_generator", "shift"]
