"""The processor: Pillow's resize at the model's size, and CLIP's own tokens, padded as little as possible."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoProcessor,
    CLIPImageProcessorPil,
    CLIPTokenizer,
    ViTImageProcessorPil,
)
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING

from modeling_prompt_clip import PromptCLIPConfig, PromptCLIPModel, PromptCLIPProcessor

MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


@pytest.fixture
def processor(tiny_clip_folder: Path) -> PromptCLIPProcessor:
    return PromptCLIPProcessor.from_clip(tiny_clip_folder, image_size=(96, 32))


def by_pillow(picture: Image.Image, height: int, width: int) -> torch.Tensor:
    """Resized bicubically without keeping the aspect, and normalised, `(3, height, width)`."""
    pixels = np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
    return torch.from_numpy((pixels / 255 - MEAN) / STD).permute(2, 0, 1).float()


def test_images_are_resized_by_pillow(processor: PromptCLIPProcessor, pictures: list[Image.Image]):
    pixel_values = processor(images=pictures)["pixel_values"]
    assert pixel_values.shape == (3, 3, 96, 32) and pixel_values.dtype == torch.float32
    for got, picture in zip(pixel_values, pictures, strict=True):
        assert torch.allclose(got, by_pillow(picture, 96, 32), atol=1e-5)


def test_one_picture_and_grey_pictures(processor: PromptCLIPProcessor, pictures: list[Image.Image]):
    grey = pictures[0].convert("L")
    assert torch.allclose(processor(images=grey)["pixel_values"][0], by_pillow(grey, 96, 32), atol=1e-5)


def test_from_clip_keeps_the_checkpoints_size_if_asked(tiny_clip_folder: Path, pictures: list[Image.Image]):
    processor = PromptCLIPProcessor.from_clip(tiny_clip_folder, image_size=None)
    assert processor.image_size == (64, 64)
    assert torch.allclose(processor(images=pictures[2])["pixel_values"][0], by_pillow(pictures[2], 64, 64), atol=1e-5)


def test_checkpoint_without_preprocessor_file_gets_clips_statistics(tiny_clip_folder: Path, tmp_path: Path):
    for name in ("config.json", "vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((tiny_clip_folder / name).read_bytes())
    processor = PromptCLIPProcessor.from_clip(tmp_path)
    assert processor.image_size == (384, 128)
    assert list(processor.image_processor.image_mean) == MEAN and list(processor.image_processor.image_std) == STD
    assert processor.tokenizer.model_max_length == 77


def test_other_backends_become_pillows(tiny_clip_folder: Path, pictures: list[Image.Image]):
    """With torchvision installed, the Auto classes give an image processor that resizes with other code."""
    other = ViTImageProcessorPil(size={"height": 96, "width": 32}, image_mean=MEAN, image_std=STD, resample=3)
    processor = PromptCLIPProcessor(other, CLIPTokenizer.from_pretrained(tiny_clip_folder))
    assert type(processor.image_processor) is CLIPImageProcessorPil
    assert processor.image_size == (96, 32)


def test_tokens_are_clips_own_without_a_mask(processor: PromptCLIPProcessor, tiny_clip_folder: Path):
    captions = ["a man in red", "A WOMAN, walking!", "café"]
    tokenizer = CLIPTokenizer.from_pretrained(tiny_clip_folder)
    encoded = processor(text=captions)
    assert list(encoded.keys()) == ["input_ids"]
    assert encoded["input_ids"].tolist() == tokenizer(captions, padding=True)["input_ids"]


def test_captions_are_padded_to_the_longest_of_the_batch(processor: PromptCLIPProcessor):
    alone, both = processor(text=["red"])["input_ids"], processor(text=["red", "a man in red"])["input_ids"]
    assert alone.shape == (1, 3)
    assert both.shape == (2, len(processor.tokenizer("a man in red")["input_ids"]))
    assert both[0, :3].equal(alone[0]) and set(both[0, 3:].tolist()) == {processor.tokenizer.pad_token_id}


def test_long_captions_keep_their_end_token(processor: PromptCLIPProcessor):
    input_ids = processor(text=["red " * 200, "red"])["input_ids"]
    assert input_ids.shape == (2, 77)
    assert input_ids[0, 0] == processor.tokenizer.bos_token_id
    assert input_ids[0].tolist().index(processor.tokenizer.eos_token_id) == 76


def test_callers_may_choose_otherwise(processor: PromptCLIPProcessor):
    encoded = processor(text=["red"], padding="max_length", max_length=20, return_attention_mask=True)
    assert encoded["input_ids"].shape == (1, 20) and encoded["attention_mask"].sum() == 3
    assert isinstance(processor(text=["red"], return_tensors="np")["input_ids"], np.ndarray)


def test_callers_may_choose_for_one_modality(processor: PromptCLIPProcessor, pictures: list[Image.Image]):
    """As sentence-transformers do."""
    chosen = {"text_kwargs": {"padding": "max_length", "max_length": 20}, "common_kwargs": {"return_tensors": "np"}}
    encoded = processor(images=pictures, text=["red"], **chosen)
    assert encoded["input_ids"].shape == (1, 20) and "attention_mask" not in encoded
    assert all(isinstance(value, np.ndarray) for value in encoded.values())


def test_nothing_to_process_is_an_error(processor: PromptCLIPProcessor):
    with pytest.raises(ValueError, match="at least one input"):
        processor()


def test_a_captions_embedding_does_not_depend_on_its_padding(processor: PromptCLIPProcessor, tiny_folder: Path):
    model = PromptCLIPModel.from_pretrained(tiny_folder)
    with torch.no_grad():
        short, wide = (
            model(**processor(text="a man in red", padding="max_length", max_length=length)).text_embeds
            for length in (10, 77)
        )
        tight = model(**processor(text="a man in red")).text_embeds
    assert torch.allclose(short, wide, atol=1e-6) and torch.allclose(short, tight, atol=1e-6)


@pytest.mark.parametrize("loader", [PromptCLIPProcessor, AutoProcessor])
def test_round_trip_beside_the_model(
    processor: PromptCLIPProcessor, loader: type, tiny_folder: Path, pictures: list[Image.Image]
):
    loaded = loader.from_pretrained(tiny_folder)
    assert type(loaded) is PromptCLIPProcessor and loaded.image_size == (96, 32)
    wanted, got = (each(images=pictures, text=["a man in red", "red " * 99]) for each in (processor, loaded))
    assert list(got.keys()) == ["input_ids", "pixel_values"]
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)


def test_output_feeds_the_model(processor: PromptCLIPProcessor, tiny_folder: Path, pictures: list[Image.Image]):
    model = PromptCLIPModel.from_pretrained(tiny_folder)
    output = model(**processor(images=pictures, text=["a man", "a man in red"]))
    assert output.logits_per_text.shape == (2, 3)


def test_saved_settings_give_pillows_pixels_where_torchvision_is_installed(tiny_folder):
    saved = json.loads((tiny_folder / "processor_config.json").read_text())["image_processor"]
    assert saved["image_processor_type"] == "CLIPImageProcessorPil"
    backends = IMAGE_PROCESSOR_MAPPING[PromptCLIPConfig]
    assert backends == {"pil": CLIPImageProcessorPil, "torchvision": CLIPImageProcessorPil}


def test_auto_image_processor_gives_the_processors_own_pixels(tiny_folder):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    own = PromptCLIPProcessor.from_pretrained(tiny_folder)(images=[picture])["pixel_values"]
    auto = AutoImageProcessor.from_pretrained(tiny_folder, backend="torchvision")
    assert torch.equal(auto(images=[picture], return_tensors="pt")["pixel_values"], own)


def test_a_picture_file_of_too_many_pixels_is_refused_in_words(tiny_folder, tmp_path):
    Image.new("1", (20000, 20000)).save(tmp_path / "huge.png")
    with pytest.raises(ValueError, match=r"huge.png has too many pixels"):
        PromptCLIPProcessor.from_pretrained(tiny_folder)(images=[str(tmp_path / "huge.png")])
