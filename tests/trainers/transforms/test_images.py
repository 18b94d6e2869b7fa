import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from torch.utils.data import DataLoader, Dataset
from transformers import CLIPImageProcessorPil

from dataset_scripts.common.images import to_rgb
from trainers.transforms.images import TrainingTransform, jitter_color, sample_generator, shift

torch.set_num_threads(1)
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
OFF = {"flip": 0, "pad": 0, "erase": 0, "color_jitter": 0}


def picture(mode: str = "RGB", size: tuple[int, int] = (31, 77), seed: int = 0):
    """An image of noise, `size` as width and height."""
    array = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(array[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(array, "RGBA").convert(mode)


def transform(size: tuple[int, int] = (48, 16), **options):
    return TrainingTransform(size, MEAN, STD, **{**OFF, **options})


def samples(augment: TrainingTransform, count: int, image: Image.Image | None = None):
    image = picture() if image is None else image
    return [augment(image, sample_generator(0, 0, index)) for index in range(count)]


# Without augmentation


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1", "CMYK", "YCbCr"])
@pytest.mark.parametrize("size", [(1, 1), (31, 77), (16, 48), (200, 9)])
def test_without_augmentation_equals_the_clip_processor_exactly(mode: str, size: tuple[int, int]):
    image = picture(mode, size)
    processor = CLIPImageProcessorPil(
        size={"height": 48, "width": 16}, do_center_crop=False, resample=Image.Resampling.BICUBIC
    )
    expected = torch.as_tensor(processor(to_rgb(image), return_tensors="pt")["pixel_values"][0])
    actual = transform()(image, sample_generator(0, 0, 0))
    assert actual.dtype == torch.float32 and actual.shape == (3, 48, 16) and actual.is_contiguous()
    assert torch.equal(actual, expected)


def test_every_pixel_value_is_normalised_as_the_processor_does():
    values = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    processor = CLIPImageProcessorPil(size={"height": 16, "width": 16}, do_center_crop=False)
    expected = torch.as_tensor(processor(Image.fromarray(values), return_tensors="pt")["pixel_values"][0])
    assert torch.equal(transform((16, 16))(Image.fromarray(values), sample_generator(0, 0, 0)), expected)


def test_the_image_itself_is_not_changed():
    image = picture()
    before = np.array(image)
    samples(transform(flip=1, pad=10, erase=1, color_jitter=0.5), 3, image)
    assert np.array_equal(np.array(image), before)


# Random draws


def test_a_sample_depends_on_seed_epoch_and_index_alone():
    augment, image = transform(flip=0.5, pad=60, erase=0.5, color_jitter=0.3), picture()
    keys = [(seed, epoch, index) for seed in range(2) for epoch in range(2) for index in range(2)]
    tensors = {key: augment(image, sample_generator(*key)) for key in keys}
    for key in reversed(keys):
        assert torch.equal(augment(image, sample_generator(*key)), tensors[key])
    assert len({tensor.numpy().tobytes() for tensor in tensors.values()}) == len(keys)


class Augmented(Dataset):
    """Forty rows of one image, as training draws them."""

    def __init__(self):
        self.augment, self.image = transform(flip=0.5, pad=60, erase=0.5, color_jitter=0.3), picture()

    def __len__(self):
        return 40

    def __getitem__(self, row: int):
        return self.augment(self.image, sample_generator(7, 3, row))


def test_worker_count_does_not_change_the_data():
    def loaded(workers: int):
        return torch.cat(list(DataLoader(Augmented(), batch_size=6, num_workers=workers)))

    alone = loaded(0)
    assert len({tensor.numpy().tobytes() for tensor in alone}) == 40
    assert torch.equal(loaded(1), alone) and torch.equal(loaded(2), alone)


def test_global_random_state_plays_no_part():
    augment, image = transform(flip=0.5, pad=60, erase=0.5, color_jitter=0.3), picture()
    torch.manual_seed(0)
    first = augment(image, sample_generator(1, 2, 3))
    state = torch.get_rng_state()
    torch.manual_seed(9)
    assert torch.equal(augment(image, sample_generator(1, 2, 3)), first)
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)


def test_switching_one_augmentation_off_leaves_the_others_as_they_were():
    image, black = picture(), Image.new("RGB", (16, 48))
    flips = transform(flip=0.5)
    with_erasing = transform(flip=0.5, erase=0.5)
    for index in range(20):
        plain = flips(image, sample_generator(0, 0, index))
        both = with_erasing(image, sample_generator(0, 0, index))
        kept = both != 0
        assert torch.equal(both[kept], plain[kept])
    assert not (transform(erase=0)(black, sample_generator(0, 0, 0)) == 0).any()


def test_generators_of_neighbouring_rows_are_unrelated():
    numbers = torch.stack([torch.rand(50, generator=sample_generator(0, 0, index)) for index in range(200)])
    assert abs(numbers.mean().item() - 0.5) < 0.01
    correlations = torch.corrcoef(numbers).fill_diagonal_(0).abs()
    assert correlations.max() < 0.7  # 20,000 values of standard deviation 1/7


@pytest.mark.parametrize("key", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_generator_refuses_negative_numbers(key: tuple[int, int, int]):
    with pytest.raises(ValueError, match="at least 0"):
        sample_generator(*key)


# Flip


def test_flip_mirrors_left_and_right():
    image = picture()
    plain = transform()(image, sample_generator(0, 0, 0))
    mirrored = transform(flip=1)(image, sample_generator(0, 0, 0))
    assert torch.equal(mirrored, plain.flip(-1))


def test_flip_happens_as_often_as_asked():
    plain = samples(transform(), 1)[0]
    flipped = sum(not torch.equal(sample, plain) for sample in samples(transform(flip=0.3), 600))
    assert 140 <= flipped <= 220  # 180 expected, standard deviation 11


# Pad and crop


@given(st.integers(1, 7), st.integers(1, 7), st.data())
@settings(deadline=None, max_examples=60)
def test_shift_equals_padding_and_cropping(height: int, width: int, data: st.DataObject):
    down, right = data.draw(st.integers(1 - height, height - 1)), data.draw(st.integers(1 - width, width - 1))
    image = torch.arange(1, 3 * height * width + 1).view(3, height, width)
    padded = torch.nn.functional.pad(image, (7, 7, 7, 7))
    expected = padded[:, 7 - down : 7 - down + height, 7 - right : 7 - right + width]
    assert torch.equal(shift(image, down, right), expected)


def test_all_crops_are_equally_likely_and_padding_is_the_mean_colour():
    white = Image.new("RGB", (16, 48), "white")
    augment = transform(pad=16)  # two pixels at a height of 48
    places = Counter()
    for sample in samples(augment, 1500, white):
        inside = sample[0] > 1
        rows, columns = inside.any(dim=1).nonzero().flatten(), inside.any(dim=0).nonzero().flatten()
        assert inside.sum() == len(rows) * len(columns) and (sample[:, ~inside] == 0).all()
        top, left = 0 if len(rows) == 48 else 1, 0 if len(columns) == 16 else 1
        down = (48 - len(rows)) * (1 if top and rows[0] > 0 else -1)
        right = (16 - len(columns)) * (1 if left and columns[0] > 0 else -1)
        places[down, right] += 1
    assert set(places) == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}
    assert all(30 <= count <= 95 for count in places.values())  # 60 expected, standard deviation 7.6


@pytest.mark.parametrize(("size", "pixels"), [((384, 128), 10), ((144, 48), 4), ((224, 224), 6), ((256, 128), 7)])
def test_padding_scales_with_the_height(size: tuple[int, int], pixels: int):
    assert TrainingTransform(size, MEAN, STD).pad == pixels


# Erasing


def erased_box(sample: torch.Tensor):
    """Height, width, top and left of the zeros of a sample of a white image; they must be one box."""
    erased = (sample == 0).all(dim=0)
    rows, columns = erased.any(dim=1).nonzero().flatten(), erased.any(dim=0).nonzero().flatten()
    assert erased.sum() == len(rows) * len(columns)
    return len(rows), len(columns), int(rows[0]), int(columns[0])


def test_erased_boxes_have_the_area_and_aspect_asked_for():
    white = Image.new("RGB", (60, 180), "white")
    augment = transform((180, 60), erase=1, erase_area=(0.05, 0.3))
    boxes = np.array([erased_box(sample) for sample in samples(augment, 500, white)])
    areas = boxes[:, 0] * boxes[:, 1] / (180 * 60)
    assert areas.min() > 0.045 and areas.max() < 0.31
    assert abs(areas.mean() - 0.175) < 0.012  # uniform: standard error 0.003
    aspects = boxes[:, 0] / boxes[:, 1]
    assert 0.28 < aspects.min() < 0.5 and 2.8 < aspects.max() < 3.5
    small = np.log(aspects[areas < 0.08])  # boxes that fit at any aspect
    assert abs(small.mean() - (math.log(0.3) + math.log(3.3)) / 2) < 0.3
    assert (boxes[:, 2] == 0).any() and (boxes[:, 2] + boxes[:, 0] == 180).any()
    assert (boxes[:, 3] == 0).any() and (boxes[:, 3] + boxes[:, 1] == 60).any()


def test_erasing_happens_as_often_as_asked():
    white = Image.new("RGB", (16, 48), "white")
    erased = sum(bool((sample == 0).any()) for sample in samples(transform(erase=0.3), 600, white))
    assert 140 <= erased <= 220


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (50, 3), (7, 7)])
def test_erasing_everything_or_one_pixel_fits_any_shape(size: tuple[int, int]):
    white = Image.new("RGB", (size[1], size[0]), "white")
    for sample in samples(transform(size, erase=1, erase_area=(1, 1)), 20, white):
        assert not sample.any()
    for sample in samples(transform(size, erase=1, erase_area=(1e-6, 1e-6)), 20, white):
        assert erased_box(sample)[:2] == (1, 1)


# Colour jitter


def tinted_picture() -> Image.Image:
    """Noise whose channels differ in their means, so that grey is not the plain mean of channels."""
    return Image.fromarray((np.array(picture()) * [1.0, 0.6, 0.2]).astype(np.uint8))


def planes(image: Image.Image) -> torch.Tensor:
    """`[3, height, width]` in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.4])
@pytest.mark.parametrize(("name", "position"), [("Brightness", 0), ("Contrast", 1), ("Color", 2)])
def test_each_jitter_equals_pillows(name: str, position: int, factor: float):
    image = tinted_picture()
    factors = [1.0, 1.0, 1.0]
    factors[position] = factor
    expected = planes(getattr(ImageEnhance, name)(image).enhance(factor))
    assert (jitter_color(planes(image), *factors) - expected).abs().max() < 2.1 / 255  # Pillow rounds to bytes


def test_jitters_follow_one_another_as_pillows():
    image = tinted_picture()
    expected = image
    for enhancer, factor in ((ImageEnhance.Brightness, 1.9), (ImageEnhance.Contrast, 1.8), (ImageEnhance.Color, 0.3)):
        expected = enhancer(expected).enhance(factor)
    assert (jitter_color(planes(image), 1.9, 1.8, 0.3) - planes(expected)).abs().max() < 4.1 / 255


def test_jitter_draws_its_factors_from_the_whole_range():
    grey = Image.new("RGB", (16, 48), (100, 100, 100))  # contrast and saturation leave grey alone
    values = [sample[0, 0, 0].item() * STD[0] + MEAN[0] for sample in samples(transform(color_jitter=0.4), 300, grey)]
    factors = np.array(values) / (100 / 255)
    assert 0.6 <= factors.min() < 0.63 and 1.37 < factors.max() <= 1.4001
    assert abs(factors.mean() - 1) < 0.04


# Conversion to RGB


def test_16_bit_grey_keeps_its_high_byte():
    values = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    assert np.array(to_rgb(Image.fromarray(values)))[0].tolist() == [[v] * 3 for v in (0, 0, 1, 128, 255)]
    assert np.array(to_rgb(Image.fromarray(values.astype(np.int32))))[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    assert samples(transform(), 1, picture("I;16"))[0].shape == (3, 48, 16)


def test_transparency_lies_on_white():
    clear = Image.new("RGBA", (2, 2), (10, 20, 30, 0))
    assert np.array(to_rgb(clear)).reshape(-1, 3).tolist() == [[255] * 3] * 4
    palette = Image.new("P", (2, 2))
    palette.info["transparency"] = 0
    assert np.array(to_rgb(palette)).min() == 255


def test_exif_orientation_is_applied(tmp_path: Path):
    image = picture(size=(20, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        upright = to_rgb(turned)
        assert turned.size == (20, 40)
    assert np.array_equal(np.array(upright), np.array(image.transpose(Image.Transpose.ROTATE_270)))


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ValueError, match="mode F"):
        to_rgb(Image.new("F", (2, 2)))
    with pytest.raises(TypeError, match="image is ndarray"):
        transform()(np.zeros((4, 4, 3), dtype=np.uint8), sample_generator(0, 0, 0))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"image_size": (0, 128)}, ValueError, "the height, is 0"),
        ({"image_size": (384, 12.5)}, TypeError, "the width, is 12.5"),
        ({"image_size": (384,)}, ValueError, "image_size is .* 2 numbers"),
        ({"image_mean": (0.5, 0.5)}, ValueError, "image_mean is .* 3 numbers"),
        ({"image_mean": (0.5, 0.5, math.nan)}, ValueError, r"image_mean\[2\] is nan"),
        ({"image_std": (0.5, 0, 0.5)}, ValueError, r"image_std\[1\] is 0"),
        ({"flip": 1.1}, ValueError, "flip is 1.1"),
        ({"pad": -1}, ValueError, "pad is -1"),
        ({"pad": 128}, ValueError, "pad is 128, 128 pixels at 384x128"),
        ({"erase": -0.5}, ValueError, "erase is -0.5"),
        ({"erase_area": (0.4, 0.02)}, ValueError, r"erase_area\[1\] is 0.02"),
        ({"erase_area": (0, 0.4)}, ValueError, r"erase_area\[0\] is 0"),
        ({"erase_area": 0.4}, ValueError, "erase_area is 0.4"),
        ({"resample": 9}, ValueError, r"resample is 9.*3 \(bicubic\)"),
        ({"color_jitter": 2}, ValueError, "color_jitter is 2"),
        ({"color_jitter": "much"}, TypeError, "color_jitter is 'much'"),
    ],
)
def test_bad_settings_are_refused(arguments: dict, error: type[Exception], message: str):
    valid = {"image_size": (384, 128), "image_mean": MEAN, "image_std": STD}
    with pytest.raises(error, match=message):
        TrainingTransform(**{**valid, **arguments})
