"""One picture and one sentence are the same to data sets, search, training, the processor and published code."""

import inspect
import json
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dataset_scripts.annotations import captions
from dataset_scripts.common.images import reading as reader
from modeling_prompt_clip import PromptCLIPConfig, PromptCLIPProcessor, processing_prompt_clip
from modeling_prompt_clip.retrieval import FolderSearcher, encode_captions, encode_images
from trainers.transforms.images import TrainingTransform, sample_generator

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "search_with_onnxruntime.py"
SIZE = (12, 30)  # width and height
COLOURS = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
GREY = COLOURS[..., 0]
RGB = Image.fromarray(COLOURS)
HALF = Image.fromarray(np.where(GREY > 99, 255, GREY).astype(np.uint8))


def turned(orientation: int) -> dict:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif}


def with_alpha(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.putalpha(HALF)
    return image


def pixels(image: Image.Image) -> list:
    return np.asarray(image).tolist()


PALETTE = RGB.quantize(16)
ODD_FILES = {
    "jpeg.jpg": (RGB, {}),
    "grey.jpg": (Image.fromarray(GREY), {}),
    "cmyk.jpg": (RGB.convert("CMYK"), {}),
    "cmyk.tif": (RGB.convert("CMYK"), {}),
    "one_bit.png": (RGB.convert("1"), {}),
    "one_bit_clear.png": (RGB.convert("1"), {"transparency": 0}),
    "palette.png": (PALETTE, {}),
    "palette_clear.png": (PALETTE, {"transparency": 3}),
    "palette_half_clear.png": (PALETTE, {"transparency": bytes(range(0, 160, 10))}),
    "palette_clear.gif": (PALETTE, {"transparency": 3}),
    "animated.gif": (PALETTE, {"save_all": True, "append_images": [Image.new("P", SIZE)]}),
    "animated.png": (RGB, {"save_all": True, "append_images": [Image.new("RGB", SIZE)]}),
    "animated.webp": (RGB, {"save_all": True, "append_images": [Image.new("RGB", SIZE)], "lossless": True}),
    "rgb_clear.png": (RGB, {"transparency": tuple(COLOURS[0, 0].tolist())}),
    "rgba.png": (with_alpha(RGB), {}),
    "rgba.webp": (with_alpha(RGB), {"lossless": True, "exact": True}),
    "rgba.tif": (with_alpha(RGB), {}),
    "grey_alpha.png": (with_alpha(Image.fromarray(GREY)), {}),
    "deep.png": (Image.fromarray(GREY.astype(np.uint16) * 257), {}),
    "deep_clear.png": (Image.fromarray(GREY.astype(np.uint16) * 257), {"transparency": int(GREY[0, 0]) * 257}),
    "deep.tif": (Image.fromarray(GREY.astype(np.uint16) * 257), {}),
    "deeper.tif": (Image.fromarray(GREY.astype(np.int32) * 257), {}),
    **{f"turned_{number}.jpg": (RGB, turned(number)) for number in range(1, 9)},
    "turned.png": (with_alpha(RGB), turned(6)),
    "turned.tif": (RGB, turned(8)),
    "turned.webp": (RGB, {**turned(3), "lossless": True}),
    "bitmap.bmp": (RGB, {}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    for name, (image, options) in ODD_FILES.items():
        image.save(folder / name, **options)
    return folder


def test_what_the_eye_sees(folder):
    """Against what is known of the pictures, not only against each other."""
    seen = {name: reader.decode_image(Image.open(folder / name), name) for name in ODD_FILES}
    on_white = Image.composite(RGB, Image.new("RGB", SIZE, "white"), HALF)
    for name in ("rgba.png", "rgba.webp", "rgba.tif"):
        assert np.abs(np.asarray(seen[name], int) - np.asarray(on_white, int)).max() <= 1, name
    for name in ("animated.png", "animated.webp", "bitmap.bmp"):
        assert pixels(seen[name]) == pixels(RGB), name
    for name in ("deep.png", "deep.tif", "deeper.tif"):
        assert pixels(seen[name].getchannel(0)) == GREY.tolist(), name
    for name in ("rgb_clear.png", "deep_clear.png"):
        assert pixels(seen[name])[0][0] == [255] * 3, name
    assert pixels(seen["turned.tif"]) == pixels(RGB.transpose(Image.Transpose.ROTATE_90))
    assert pixels(seen["turned.webp"]) == pixels(RGB.transpose(Image.Transpose.ROTATE_180))
    assert seen["turned_6.jpg"].size == SIZE[::-1]
    clear = np.asarray(PALETTE) == 3
    for name in ("palette_clear.png", "palette_clear.gif"):
        assert clear.any() and (np.asarray(seen[name])[clear] == 255).all(), name
    assert all(image.mode == "RGB" and image.getexif().get(0x0112, 1) == 1 for image in seen.values())


@pytest.mark.parametrize("name", ODD_FILES)
def test_an_odd_picture_is_the_same_by_every_route(tiny_processor, folder, name):
    expected = tiny_processor(images=reader.decode_image(Image.open(folder / name), name))["pixel_values"]
    height, width = tiny_processor.image_size
    settings = tiny_processor.image_processor
    options = {"flip": 0, "pad": 0, "erase": 0}
    training = TrainingTransform((height, width), settings.image_mean, settings.image_std, **options)
    from_table = {"bytes": (folder / name).read_bytes(), "path": None}
    feature = import_module("dataset_scripts.builders.image_features").PersonImage()
    routes = {
        "path": tiny_processor(images=str(folder / name)),
        "Path in a list": tiny_processor(images=[folder / name]),
        "PIL": tiny_processor(images=[[Image.open(folder / name)]]),
        "the caller's size": tiny_processor(images=Image.open(folder / name), size={"height": height, "width": width}),
        "data set": tiny_processor(images=feature.decode_example(from_table)),
        "training": {"pixel_values": training(feature.decode_example(from_table), sample_generator(0, 0, 0))[None]},
    }
    for route, found in routes.items():
        assert torch.equal(found["pixel_values"], expected), route


def test_search_embeds_odd_pictures_as_the_processor_does(tiny_model, tiny_processor, folder):
    searcher = FolderSearcher(tiny_model, tiny_processor, folder, batch_size=7)
    opened = [Image.open(path) for path in searcher.paths]
    assert torch.equal(encode_images(tiny_model, tiny_processor, opened, batch_size=7), searcher.embeds)
    upright = [tiny_processor(images=path)["pixel_values"] for path in searcher.paths]
    with torch.no_grad():
        expected = tiny_model.get_image_features(pixel_values=torch.cat(upright)).pooler_output
    expected = torch.nn.functional.normalize(expected, dim=1)
    assert torch.allclose(searcher.embeds, expected, atol=1e-5)


def test_a_picture_is_not_turned_twice(folder):
    once = reader.to_rgb(Image.open(folder / "turned_6.jpg"))
    assert pixels(reader.to_rgb(once)) == pixels(once)


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA", "HSV", "YCbCr", "RGBX", "I;16B"])
def test_modes_of_pictures_in_memory(tiny_processor, mode):
    by_way_of = {"La": "LA", "RGBa": "RGBA", "PA": "LA", "I;16B": "I"}.get(mode, mode)
    image = with_alpha(RGB).convert(by_way_of) if "a" in mode.lower() else RGB.convert(by_way_of)
    image = image.convert(mode) if mode != by_way_of else image
    assert tiny_processor(images=image)["pixel_values"].shape[0] == 1


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Image.new("F", SIZE), ValueError, "mode F"),
        (lambda: Image.new("I", SIZE, 70000), ValueError, "beyond 16 bits"),
        (lambda: "nowhere.jpg", OSError, "nowhere.jpg"),
        (lambda: Path(__file__), OSError, "cannot identify image file"),
    ],
)
def test_the_processor_refuses_what_is_no_picture(tiny_processor, make, error, message):
    with pytest.raises(error, match=message):
        tiny_processor(images=make())


def test_postscript_is_opened_nowhere(tiny_model, tiny_processor, tmp_path, monkeypatch):
    """Pillow starts Ghostscript for it."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    plugin = import_module("PIL.EpsImagePlugin")
    monkeypatch.setattr(plugin, "Ghostscript", lambda *_, **__: pytest.fail("it is started"))
    with pytest.raises(ValueError, match="PostScript"):
        FolderSearcher(tiny_model, tiny_processor, tmp_path)
    with pytest.raises(OSError, match="cannot identify"):
        tiny_processor(images=tmp_path / "a.png")


COPIES = [
    (EXAMPLE, processing_prompt_clip, ("to_rgb", "_upper_byte", "clean_caption", "_spaced_mark", "IMAGE_FORMATS")),
    (
        EXAMPLE,
        processing_prompt_clip,
        ("_UNWRITTEN", "_INVISIBLE", "_STRAIGHT_QUOTES", "_ADDRESS_OR_MARK", "_CLOSING"),
    ),
    (processing_prompt_clip, reader, ("to_rgb", "_upper_byte", "IMAGE_FORMATS")),
    (processing_prompt_clip, captions, ("clean_caption", "_spaced_mark", "_UNWRITTEN", "_INVISIBLE", "_CLOSING")),
    (processing_prompt_clip, captions, ("_STRAIGHT_QUOTES", "_ADDRESS_OR_MARK")),
]


@pytest.mark.parametrize(("copy", "origin", "names"), COPIES)
def test_published_code_has_the_same_rules(copy, origin, names):
    if isinstance(copy, Path):
        pytest.importorskip("onnxruntime")
        specification = spec_from_file_location("search_with_onnxruntime", copy)
        copy = module_from_spec(specification)
        specification.loader.exec_module(copy)
    for name in names:
        mine, theirs = getattr(copy, name), getattr(origin, name)
        assert inspect.getsource(mine) == inspect.getsource(theirs) if inspect.isfunction(mine) else mine == theirs


SENTENCES = {
    "the man\u2019s red coat": "the man's red coat",
    "a \u201cred\u201d  coat ,white shoes\n": 'a "red" coat, white shoes',
    "black &amp; white; the man&#39;s hat": "black & white; the man's hat",
    "black &amp;amp; white": "black & white",
    "caf\u0065\u0301": "caf\u00e9",
}


@pytest.mark.parametrize(("typed", "meant"), SENTENCES.items())
def test_a_sentence_is_cleaned_by_every_route(tiny_model, tiny_processor, typed, meant):
    assert captions.clean_caption(typed) == meant == captions.clean_caption(meant)
    raw = tiny_processor.tokenizer(meant)["input_ids"]
    for text in (typed, [typed]):
        assert tiny_processor(text=text)["input_ids"].tolist() == [raw]
    found, expected = (encode_captions(tiny_model, tiny_processor, [text]) for text in (typed, meant))
    assert torch.equal(found, expected)


def test_a_processor_that_does_not_clean_keeps_that(tiny_processor, tmp_path, monkeypatch):
    plain = PromptCLIPProcessor(tiny_processor.image_processor, tiny_processor.tokenizer, clean_captions=False)
    plain.save_pretrained(tmp_path)
    loaded = PromptCLIPProcessor.from_pretrained(tmp_path)
    text = "a red , coat"
    assert loaded.clean_captions is False
    PromptCLIPConfig().save_pretrained(tmp_path)
    monkeypatch.setattr(processing_prompt_clip, "load_tokenizer", lambda *_, **__: tiny_processor.tokenizer)
    assert PromptCLIPProcessor.from_clip(tmp_path).clean_captions is False
    assert loaded(text=text)["input_ids"].tolist() == [tiny_processor.tokenizer(text)["input_ids"]]
    settings = json.loads((tmp_path / "processor_config.json").read_text())
    settings.pop("clean_captions")  # as earlier versions wrote it
    (tmp_path / "processor_config.json").write_text(json.dumps(settings))
    assert PromptCLIPProcessor.from_pretrained(tmp_path).clean_captions is True


def test_equal_pictures_get_equal_scores_wherever_they_stand(tiny_model, tiny_processor, tmp_path):
    draw = np.random.default_rng(0)
    for number in range(23):
        noise = Image.fromarray(draw.integers(0, 256, (60, 20, 3), dtype=np.uint8))
        (RGB if number % 5 == 0 else noise).save(tmp_path / f"{number:02}.png")
    for batch_size in (1, 2, 3, 7, 22, 64):
        searcher = FolderSearcher(tiny_model, tiny_processor, tmp_path, batch_size=batch_size)
        hits = [hit for hit in searcher.search("a man", 23) if int(hit.path.stem) % 5 == 0]
        assert len({hit.score for hit in hits}) == 1
        assert [hit.path.stem for hit in hits] == ["00", "05", "10", "15", "20"]
        assert hits[-1].rank - hits[0].rank == 4


def test_equal_pictures_are_embedded_once(tiny_model, tiny_processor, monkeypatch):
    seen = []
    forward = tiny_model.get_image_features

    def counted(pixel_values, **options):
        seen.append(len(pixel_values))
        return forward(pixel_values=pixel_values, **options)

    monkeypatch.setattr(tiny_model, "get_image_features", counted)
    embeds = encode_images(
        tiny_model, tiny_processor, [RGB, RGB, HALF, RGB, HALF, HALF, with_alpha(RGB)], batch_size=2
    )
    assert seen == [1, 1, 1] and len(embeds) == 7
    assert torch.equal(embeds[[0, 0, 2, 0, 2, 2]], embeds[:6]) and not torch.equal(embeds[6], embeds[0])
