import gc
import io
import pickle
import time
from contextlib import closing

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from modeling_prompt_clip import PromptCLIPProcessor
from modeling_prompt_clip.retrieval import image_batches as module
from modeling_prompt_clip.retrieval.image_batches import ImagePreparation, image_batches


def picture(mode="RGB", size=(31, 77), seed=0):
    """An image of noise, `size` as width and height."""
    array = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    return Image.fromarray(array, "RGBA").convert(mode)


def by_transformers(processor, images):
    return processor.image_processor(images, return_tensors="pt")["pixel_values"]


def jpeg(image, keep=None):
    """The bytes of a file, or the first `keep` of them."""
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()[:keep]


@pytest.fixture
def column(images):
    """The twelve images as JPEG files in a data set's column."""
    rows = {"image": [{"bytes": jpeg(image), "path": None} for image in images]}
    return datasets.Dataset.from_dict(rows, features=datasets.Features({"image": datasets.Image()}))["image"]


def broken_column(images, row):
    rows = [
        {"bytes": jpeg(image, 2000 if number == row else None), "path": None} for number, image in enumerate(images)
    ]
    table = datasets.Dataset.from_dict({"image": rows}, features=datasets.Features({"image": datasets.Image()}))
    return table["image"]


def broken_list(images, row):
    """Files that are open, but not read yet."""
    return [
        Image.open(io.BytesIO(jpeg(image, 2000 if number == row else None))) for number, image in enumerate(images)
    ]


# Two steps that are the processor


@pytest.mark.parametrize("size", [(1, 1), (31, 77), (32, 96), (200, 9), (64, 128), (200, 500)])
def test_rgb_images_travel_as_bytes_and_end_as_transformers_makes_them(tiny_processor, size):
    images = [picture(size=size, seed=seed) for seed in range(3)]
    preparation = ImagePreparation(tiny_processor)
    resized = preparation.resize(images)
    assert resized.dtype == torch.uint8 and resized.shape == (3, *tiny_processor.image_size, 3)
    pixel_values = preparation.normalize(resized)
    assert pixel_values.dtype == torch.float32 and pixel_values.is_contiguous()
    assert torch.equal(pixel_values, by_transformers(tiny_processor, images))


def test_every_byte_of_every_channel_is_normalised_as_transformers_does(tiny_processor):
    height, width = tiny_processor.image_size
    values = np.arange(height * width * 3).reshape(height, width, 3).astype(np.uint8)
    image = Image.fromarray(values)
    assert all(len(np.unique(values[..., channel])) == 256 for channel in range(3))
    preparation = ImagePreparation(tiny_processor)
    actual = preparation.normalize(preparation.resize([image]))
    assert torch.equal(actual, by_transformers(tiny_processor, [image]))


def test_on_a_gpu_it_is_the_same(tiny_processor):
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    images = [picture(seed=seed) for seed in range(3)]
    preparation = ImagePreparation(tiny_processor)
    actual = preparation.normalize(preparation.resize(images).cuda())
    assert torch.equal(actual.cpu(), by_transformers(tiny_processor, images))


def test_jpeg_files_that_are_not_read_yet_are_equal_too(tiny_processor, images):
    files = broken_list(images, row=None)
    preparation = ImagePreparation(tiny_processor)
    actual = preparation.normalize(preparation.resize(files))
    assert torch.equal(actual, by_transformers(tiny_processor, files))


def transparent(image):
    """RGB with a colour that stands for nothing, as PNG can have."""
    image.info["transparency"] = image.getpixel((0, 0))
    return image


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "P", "1", "CMYK", "transparent RGB"])
def test_other_images_become_what_the_processor_makes_of_them(tiny_processor, mode):
    image = transparent(picture()) if mode == "transparent RGB" else picture(mode)
    preparation = ImagePreparation(tiny_processor)
    for batch in ([image], [picture(), image]):
        resized = preparation.resize(batch)
        assert resized.dtype == torch.uint8
        assert torch.equal(preparation.normalize(resized), tiny_processor(images=batch)["pixel_values"])


@pytest.mark.parametrize(
    "settings",
    [
        {"do_center_crop": True, "crop_size": {"height": 20, "width": 20}},
        {"do_normalize": False},
        {"do_rescale": False},
        {"do_resize": False},
        {"rescale_factor": 1 / 127.5},
        {"size": {"shortest_edge": 40}},
        {"do_pad": True, "pad_size": {"height": 120, "width": 120}},
        {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.1], "resample": Image.Resampling.BILINEAR},
        {"image_mean": 0.5, "image_std": 0.25},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_other_settings_are_the_processors_too(tiny_processor, settings):
    plain = {"size": {"height": 96, "width": 32}, "do_center_crop": False}
    processor = PromptCLIPProcessor(CLIPImageProcessorPil(**{**plain, **settings}), tiny_processor.tokenizer)
    images = [picture(seed=seed) for seed in range(2)]
    preparation = ImagePreparation(processor)
    actual = preparation.normalize(preparation.resize(images))
    assert torch.equal(actual, by_transformers(processor, images))


# Batches, by any number of workers


@pytest.mark.parametrize("kind", ["list", "column"])
def test_worker_count_changes_nothing(tiny_processor, images, column, kind):
    preparation = ImagePreparation(tiny_processor)
    given = images if kind == "list" else column
    alone = list(image_batches(preparation, given, 7))
    assert [len(batch) for batch in alone] == [7, 5]
    assert torch.equal(preparation.normalize(torch.cat(alone)), by_transformers(tiny_processor, list(given)))
    for num_workers in (1, 2, 9):
        together = list(image_batches(preparation, given, 7, num_workers=num_workers))
        assert [len(batch) for batch in together] == [7, 5]
        assert torch.equal(torch.cat(together), torch.cat(alone))


def test_an_iterator_stays_in_this_process(tiny_processor, images, monkeypatch):
    monkeypatch.setattr(module, "WorkerLoader", None)
    preparation = ImagePreparation(tiny_processor)
    batches = list(image_batches(preparation, (image for image in images), 5, num_workers=2))
    assert [len(batch) for batch in batches] == [5, 5, 2]
    assert torch.equal(torch.cat(batches), preparation.resize(images))


def test_no_images_are_no_batches(tiny_processor):
    for images in ([], iter([])):
        assert list(image_batches(ImagePreparation(tiny_processor), images, 5, num_workers=2)) == []


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("broken", [broken_column, broken_list])
def test_a_broken_image_is_named_and_leaves_no_worker(tiny_processor, images, broken, num_workers, workers):
    start = time.monotonic()
    batches = image_batches(ImagePreparation(tiny_processor), broken(images, row=7), 5, num_workers=num_workers)
    assert len(next(batches)) == 5
    with pytest.raises(OSError, match=r"^image 7 \(counted from 0\) cannot be read: [^\n]*truncated[^\n]*$"):
        next(batches)
    gc.collect()
    assert not workers()
    assert time.monotonic() - start < 4  # a worker that is not told to stop waits for five seconds


def test_closing_ends_the_workers(tiny_processor, images, workers):
    start = time.monotonic()
    with closing(image_batches(ImagePreparation(tiny_processor), images, 1, num_workers=2)) as batches:
        next(batches)
        assert workers() == 2
    assert not workers()
    assert time.monotonic() - start < 4


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_global_random_state_stays_as_it_is(tiny_processor, images, num_workers):
    state = torch.get_rng_state()
    list(image_batches(ImagePreparation(tiny_processor), images, 5, num_workers=num_workers))
    assert torch.equal(torch.get_rng_state(), state)


def test_what_workers_get_can_be_pickled(tiny_processor, column):
    """Where processes are not forked, it has to."""
    rows = pickle.loads(pickle.dumps(module._ResizedRows(ImagePreparation(tiny_processor), column)))
    assert torch.equal(rows[range(3)], ImagePreparation(tiny_processor).resize([column[row] for row in range(3)]))
