"""Batches of `pixel_values`: resized by workers, normalised on the model's device."""

from collections.abc import Generator, Iterable, Sequence
from itertools import chain, islice

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from transformers import CLIPImageProcessorPil

from dataset_scripts.common.images import DECODING_ERRORS, to_rgb
from modeling_prompt_clip.processing_prompt_clip import PromptCLIPProcessor
from modeling_prompt_clip.retrieval.workers import WorkerLoader

__all__ = ["ImagePreparation", "image_batches"]


class ImagePreparation:
    """Split a processor's work, so that workers send bytes, not floats.

    Results equal the processor's bit for bit in half its time. A processor set to do more than resize and normalise is
    used itself.
    """

    def __init__(self, processor: PromptCLIPProcessor) -> None:
        settings = processor.image_processor
        self.processor = processor
        self.resample = settings.resample
        # white is a tensor because CUDA multiplies by the reciprocal of a number, which rounds otherwise
        self.white, self.mean, self.std = (
            torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
            for values in (255, settings.image_mean, settings.image_std)
        )
        self.only_resizes = (
            type(settings) is CLIPImageProcessorPil
            and all((settings.do_resize, settings.do_rescale, settings.do_normalize))
            and not (settings.do_center_crop or settings.do_pad)
            and settings.rescale_factor == 1 / 255
            and bool(settings.size.get("height") and settings.size.get("width"))
        )

    def resize(self, images: Iterable[Image.Image]) -> torch.Tensor:
        """Resize images, one at a time at full size.

        Returns: `[images, height, width, 3]`, uint8; by the processor itself `[images, 3, height, width]`, float32.
        """
        resized = [self._resize(image) for image in images]
        if all(isinstance(image, Image.Image) for image in resized):
            return torch.from_numpy(np.stack(resized))
        return torch.cat([image if isinstance(image, torch.Tensor) else self._process(image) for image in resized])

    def _resize(self, image: Image.Image) -> Image.Image | torch.Tensor:
        if not (self.only_resizes and isinstance(image, Image.Image)):
            return self._process(image)
        height, width = self.processor.image_size
        return to_rgb(image).resize((width, height), self.resample)

    def _process(self, image: Image.Image) -> torch.Tensor:
        return self.processor(images=[image])["pixel_values"]

    def normalize(self, resized: torch.Tensor) -> torch.Tensor:
        """Turn the result of `resize` into `[images, 3, height, width]`, float32."""
        if resized.dtype != torch.uint8:
            return resized
        white, mean, std = (values.to(resized.device) for values in (self.white, self.mean, self.std))
        count, height, width, _ = resized.shape
        pixel_values = white.new_empty(count, 3, height, width)
        for pixels, image in zip(pixel_values, resized, strict=True):  # one at a time fits a core's cache
            pixels.copy_(image.permute(2, 0, 1)).div_(white).sub_(mean).div_(std)
        return pixel_values


def image_batches(
    preparation: ImagePreparation,
    images: Iterable[Image.Image],
    batch_size: int,
    *,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> Generator[torch.Tensor, None, None]:
    """Yield batches from `ImagePreparation.resize`, the same for any number of workers.

    Workers share a sequence (list, data set column) and may `pin_memory`; an iterator is read in this process. Close
    the generator to end its workers. torch's global random state is neither used nor changed.

    Raises OSError: an unreadable image of a sequence, whose row is named; the system killed a worker.
    """
    if not isinstance(images, Sequence):
        images = iter(images)
        for first in images:
            yield preparation.resize(chain([first], islice(images, batch_size - 1)))
        return
    batches = [range(start, min(start + batch_size, len(images))) for start in range(0, len(images), batch_size)]
    loader = WorkerLoader(
        _ResizedRows(preparation, images),
        sampler=batches,
        batch_size=None,  # a batch is one item of the data set
        num_workers=min(num_workers, len(batches)),
        pin_memory=pin_memory,
        generator=torch.Generator(),  # the loader draws a seed for its workers, by default from the global generator
    )
    try:
        for batch in loader:
            if isinstance(batch, str):
                raise OSError(batch)
            yield batch
    finally:
        del loader  # gh-118272: Python 3.12 keeps all variables, workers too, of a closed generator without a handler


class _ResizedRows(Dataset):
    """Resized images of some rows, or an error in words.

    Where a worker raises an error, a DataLoader raises one with the worker's whole traceback for a message.
    """

    def __init__(self, preparation: ImagePreparation, images: Sequence[Image.Image]) -> None:
        self.preparation = preparation
        self.images = images

    def __getitem__(self, rows: range) -> torch.Tensor | str:
        try:
            return self.preparation.resize(self._read(row) for row in rows)
        except _Unreadable as error:
            return str(error)

    def _read(self, row: int) -> Image.Image:
        try:
            image = self.images[row]
            if isinstance(image, Image.Image):
                image.load()
        except DECODING_ERRORS as error:
            raise _Unreadable(f"image {row} (counted from 0) cannot be read: {error}") from error
        return image


class _Unreadable(Exception):
    """An image of a row that cannot be decoded, in words."""
