"""A converted folder prepares images and captions as the code of its family does."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.Image import Resampling
from transformers import AutoTokenizer

from modeling_prompt_clip import PromptCLIPProcessor, cli
from modeling_prompt_clip.loading import load_model

CAPTIONS = ["A man, in RED!", 'the "man" (in): red.', "red; re~d", "a man", "#a *man* in..."]


def pre_caption(caption):
    """What TBPS-CLIP does to captions before its tokenizer, from its code."""
    caption = re.sub(r"([.!\"()*#:;~])", " ", caption.lower())
    return re.sub(r"\s{2,}", " ", caption).rstrip("\n").strip(" ")


@pytest.mark.parametrize(
    ("kind", "resample"),
    [
        ("openai", "bicubic"),
        ("irra", "bilinear"),
        ("clip2textreid", "bilinear"),
        ("tbps", "bicubic"),
        ("transformers", "bicubic"),
    ],
)
def test_images_are_resized_as_in_the_familys_code(source, convert, kind, resample):
    converted, folder = convert(source.state(kind))
    assert converted.choices["resample"].value == resample
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8))
    resized = np.asarray(picture.resize((32, 96), Resampling[resample.upper()]), dtype=np.float32) / 255
    for processor in (PromptCLIPProcessor.from_pretrained(folder), load_model(folder)[1]):
        settings = processor.image_processor
        expected = (resized - np.float32(settings.image_mean)) / np.float32(settings.image_std)
        got = processor(images=[picture])["pixel_values"][0].numpy()
        np.testing.assert_allclose(got, expected.transpose(2, 0, 1), atol=1e-5)


def test_resampling_and_captions_can_be_named(source, convert):
    converted, folder = convert(source.state("tbps"), resample="bilinear", captions="clip")
    assert {name: converted.choices[name].why for name in ("resample", "captions")} == dict.fromkeys(
        ("resample", "captions"), "as given"
    )
    assert PromptCLIPProcessor.from_pretrained(folder).image_processor.resample == Resampling.BILINEAR


@pytest.mark.parametrize("setting", ["normalization", "resample", "captions"])
def test_unknown_settings_are_refused(source, convert, setting):
    with pytest.raises(ValueError, match=f"{setting} is 'other'; it must be"):
        convert(source.state(), **{setting: "other"})


def test_captions_of_tbps_clip_lose_their_punctuation_by_every_route(source, convert, tiny_clip_folder):
    _, folder = convert(source.state("tbps"))
    plain = AutoTokenizer.from_pretrained(tiny_clip_folder)
    expected = [plain(pre_caption(caption)).input_ids for caption in CAPTIONS]
    assert expected != [plain(caption).input_ids for caption in CAPTIONS]
    processors = PromptCLIPProcessor.from_pretrained(folder), load_model(folder)[1]
    for tokenizer in (AutoTokenizer.from_pretrained(folder), *(processor.tokenizer for processor in processors)):
        assert [tokenizer(caption).input_ids for caption in CAPTIONS] == expected
    for processor in processors:
        assert [processor(text=caption)["input_ids"][0].tolist() for caption in CAPTIONS] == expected
    processors[0].save_pretrained(folder / "again")
    again = PromptCLIPProcessor.from_pretrained(folder / "again").tokenizer
    assert [again(caption).input_ids for caption in CAPTIONS] == expected
    assert again.decode(expected[3], skip_special_tokens=True) == "a man"


def test_captions_of_tbps_clip_are_cut_to_the_context_with_their_end_token(source, convert):
    _, folder = convert(source.state("tbps"))
    ids = PromptCLIPProcessor.from_pretrained(folder)(text=["a man. " * 40])["input_ids"]
    assert ids.shape == (1, 20) and ids[0, -1] == ids.max() == source.vocabulary - 1


def test_captions_of_other_families_keep_their_punctuation(source, convert, tiny_clip_folder):
    _, folder = convert(source.state("irra"))
    plain, ours = (
        AutoTokenizer.from_pretrained(tiny_clip_folder),
        PromptCLIPProcessor.from_pretrained(folder).tokenizer,
    )
    assert [ours(caption).input_ids for caption in CAPTIONS] == [plain(caption).input_ids for caption in CAPTIONS]


def test_the_command_says_every_setting_and_what_it_assumed(source, tiny_clip_folder, tmp_path, capsys):
    torch.save(source.state("open_clip"), tmp_path / "model.pth")
    arguments = [str(tmp_path / "model.pth"), str(tmp_path / "out"), "--tokenizer", str(tiny_clip_folder)]
    assert cli.main(["convert", *arguments]) == 0
    out = capsys.readouterr().out
    for line in (
        r"  family +OpenAI's layout \(",
        r"  activation +quick_gelu \(as OpenAI's models have it; the checkpoint does not say\.",
        r"  head_width +64, 2 heads \(",
        r"  text_head_width +64, 1 heads \(",
        r"  image_size +96x32, patches of 16 \(three times as high as wide\)",
        r"  normalization +clip \(",
        r"  resample +bicubic \(",
        r"  captions +clip \(",
        rf"  tokenizer +{tiny_clip_folder}",
        r"assumed: activation quick_gelu: .*convert with --activation gelu",
        r"assumed: image_size 96x32, patches of 16: .*as many patches have: 64 48\. Convert with --image_size",
        "left out, as no part of CLIP: nothing",
    ):
        assert re.search(f"^{line}", out, re.MULTILINE), line
    arguments[1] = str(tmp_path / "again")
    assert cli.main(["convert", *arguments, "--activation", "gelu", "--image_size", "64", "48", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["activation"], answer["image_size"], answer["assumed"]) == ("gelu", [64, 48], {})
    assert (answer["resample"], answer["captions"], answer["head_width"]) == ("bicubic", "clip", 64)
    assert answer["why"]["activation"] == "as given" and answer["layout"] == {"vision": "visual.", "text": ""}
