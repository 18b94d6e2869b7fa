import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

import benchmarks.stand_in.model as stand_in
import benchmarks.stand_in.pretrain as pretraining
from benchmarks.stand_in.catalogue import render_catalogue_item
from benchmarks.stand_in.model import (
    build_model,
    image_embeds,
    learn_tokenizer,
    save_model,
    text_embeds,
    tokenize,
)
from benchmarks.stand_in.pretrain import PretrainArguments, pretrain
from dataset_scripts.synthetic import render_person, stream

ROOT = Path(__file__).parents[3]
ASSET = ROOT / "modeling_prompt_clip" / "assets" / "stand_in_clip"
RESULTS = ROOT / "benchmarks" / "results" / "stand_in"
SENTENCES = ["a person in a red coat", "Blue T-shirt, naïve 漢字 42!", "black shoes"]


@pytest.fixture(scope="module")
def captions():
    rng = stream(1)
    return [render_catalogue_item(rng)[1] for _ in range(300)]


@pytest.fixture(scope="module")
def tokenizer(captions):
    return learn_tokenizer(captions, merges=100)


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    return build_model(tokenizer, width=32, vision_layers=1, text_layers=1).eval()


def _small(output: Path, **changes) -> PretrainArguments:
    settings = {
        "steps": 4, "batch_size": 8, "source_pictures": 20, "workers": 1, "warmup_steps": 2, "width": 32,
        "vision_layers": 1, "text_layers": 1, "log_every": 1, "evaluate_every": 4, "checkpoint_every": 2,
        "validation_people": 3, "test_people": 3, "source_folder": str(output.parent / "source"),
    }  # fmt: skip
    return PretrainArguments(output=str(output), **{**settings, **changes})


@pytest.fixture(autouse=True)
def _few_held_out_pictures(monkeypatch):
    monkeypatch.setattr(pretraining, "HELD_OUT_PICTURES", 8)


# --- tokenizer


def test_tokenizer_is_learned_reproducibly(captions, tokenizer):
    assert learn_tokenizer(captions, merges=100).get_vocab() == tokenizer.get_vocab()


def test_merges_of_a_small_text_by_hand():
    words = Counter({("l", "o", "w</w>"): 5, ("l", "o", "w", "e", "r</w>"): 2, ("n", "e", "w</w>"): 6})
    # ("l", "o") 7; then ("e", "w</w>") and ("n", "e") tie at 6: alphabetical.
    expected = [("l", "o"), ("e", "w</w>"), ("n", "ew</w>"), ("lo", "w</w>")]
    assert stand_in._learn_merges(words, 4) == expected
    assert stand_in._learn_merges(words, 0) == []


def test_merges_end_where_all_words_are_whole():
    words = Counter({("a", "b</w>"): 1, ("a", "a", "a</w>"): 1})
    merges = stand_in._learn_merges(words, 99)
    assert merges == [("a", "a"), ("a", "b</w>"), ("aa", "a</w>")]


def test_tokenizer_has_clips_layout(tokenizer):
    assert tokenizer.eos_token_id == len(tokenizer) - 1 == max(tokenizer.get_vocab().values())
    assert tokenizer.bos_token_id == len(tokenizer) - 2
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert 512 < len(tokenizer) <= 512 + 100 + 2


@pytest.mark.parametrize("loader", [CLIPTokenizer, AutoTokenizer])
def test_tokenizer_survives_its_folder(loader, tokenizer, model, tmp_path):
    save_model(model, tokenizer, tmp_path)
    loaded = loader.from_pretrained(tmp_path)
    assert loaded(SENTENCES)["input_ids"] == tokenizer(SENTENCES)["input_ids"]
    assert loaded.model_max_length == 77


def test_tokens_decode_to_the_text_that_clip_sees(tokenizer):
    for sentence in SENTENCES:
        ids = tokenizer(sentence)["input_ids"]
        assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
        # CLIP lower-cases and separates words from signs.
        decoded = tokenizer.decode(ids, skip_special_tokens=True)
        assert decoded.replace(" ", "") == sentence.lower().replace(" ", "")


def test_long_captions_keep_their_end(tokenizer):
    ids = tokenize(tokenizer, ["zebra " * 200, "red"])
    assert ids.shape == (2, 77)
    assert ids[0, -1] == tokenizer.eos_token_id


# --- features


def test_features_are_unit_and_ignore_padding(model, tokenizer):
    ids = tokenize(tokenizer, SENTENCES)
    padded = F.pad(ids, (0, 9), value=tokenizer.eos_token_id)
    with torch.no_grad():
        texts = text_embeds(model, ids)
        torch.testing.assert_close(text_embeds(model, padded), texts)
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(3))


def test_pixels_are_normalised_as_the_image_processor_does(model):
    image, _ = render_catalogue_item(stream(2))
    processor = CLIPImageProcessorPil(size={"height": 96, "width": 96}, do_center_crop=False)
    expected = processor(images=[image], return_tensors="pt")["pixel_values"]
    pixels = torch.from_numpy(np.asarray(image).copy())[None]
    with torch.no_grad():
        features = model.get_image_features(expected).pooler_output
        torch.testing.assert_close(image_embeds(model, pixels), F.normalize(features, dim=-1), atol=1e-5, rtol=1e-4)


def test_street_pictures_go_through_a_resized_grid(model):
    shots = render_person(0, 0)
    pixels = torch.from_numpy(np.stack([np.asarray(shot.image) for shot in shots]))
    with torch.no_grad():
        assert image_embeds(model, pixels).shape == (4, 32)


# --- the steps


def test_loss_equals_a_naive_loop():
    torch.manual_seed(0)
    images, texts = (F.normalize(torch.randn(5, 7, dtype=torch.float64), dim=1) for _ in range(2))
    log_scale = torch.tensor(1.5, dtype=torch.float64)
    total = 0.0
    for i in range(5):
        row = [math.exp(math.exp(1.5) * float(images[i] @ texts[j])) for j in range(5)]
        column = [math.exp(math.exp(1.5) * float(images[j] @ texts[i])) for j in range(5)]
        total -= math.log(row[i] / sum(row)) + math.log(column[i] / sum(column))
    assert pretraining._contrastive_loss(images, texts, log_scale).item() == pytest.approx(total / 10, abs=1e-12)


def test_loss_of_equal_embeddings_is_the_log_of_their_number():
    same = F.normalize(torch.ones(6, 4), dim=1)
    assert pretraining._contrastive_loss(same, same, torch.tensor(2.0)).item() == pytest.approx(math.log(6), abs=1e-5)


def test_the_logit_scale_is_limited():
    images = F.normalize(torch.randn(4, 8), dim=1)
    at_limit = pretraining._contrastive_loss(images, images, torch.tensor(math.log(100)))
    assert pretraining._contrastive_loss(images, images, torch.tensor(9.0)) == at_limit


def test_learning_rate_in_closed_form(tmp_path):
    arguments = PretrainArguments(output=str(tmp_path), steps=1000, warmup_steps=10, learning_rate=2.0)
    rates = [pretraining._learning_rate(step, arguments) for step in range(1000)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[500] == pytest.approx(1.0)
    assert rates[999] == pytest.approx(2.0 * 0.02)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_an_epoch_takes_every_picture_once(tmp_path):
    arguments = PretrainArguments(output=str(tmp_path), batch_size=5, source_pictures=20)
    epochs = [
        np.concatenate([pretraining._batch_rows(4 * epoch + i, 20, arguments) for i in range(4)]) for epoch in (0, 1)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(20))
    assert epochs[0].tolist() != epochs[1].tolist()


# --- the run


def test_a_run_leaves_a_clip_folder_a_log_and_figures(tmp_path):
    trained = pretrain(_small(tmp_path / "run"))
    model, report = CLIPModel.from_pretrained(tmp_path / "run" / "model", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), trained.parameters(), strict=True))
    assert "plain" not in (tmp_path / "run" / "model" / "config.json").read_text()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
    assert 0 <= lines[-1]["validation R@1"] <= 100
    figures = json.loads((tmp_path / "run" / "zero_shot.json").read_text())
    assert figures["zero_shot"]["street test"]["queries"] == 3 * 4 * 2
    assert figures["run"]["arguments"]["steps"] == 4


def test_a_resumed_run_ends_with_the_same_weights(tmp_path, monkeypatch):
    undisturbed = pretrain(_small(tmp_path / "whole"))
    take_step, calls = pretraining.train_step, []

    def die_in_the_fourth_step(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return take_step(*arguments)

    monkeypatch.setattr(pretraining, "train_step", die_in_the_fourth_step)
    with pytest.raises(KeyboardInterrupt):
        pretrain(_small(tmp_path / "broken"))
    monkeypatch.setattr(pretraining, "train_step", take_step)
    resumed = pretrain(_small(tmp_path / "broken", resume=True))
    assert all(torch.equal(a, b) for a, b in zip(undisturbed.parameters(), resumed.parameters(), strict=True))
    steps = [json.loads(line)["step"] for line in (tmp_path / "broken" / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 4]


def test_the_loss_falls(tmp_path):
    pretrain(_small(tmp_path / "run", steps=30, batch_size=16, source_pictures=16, learning_rate=3e-3))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < losses[0] - 0.3


def test_resuming_needs_a_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="without --resume"):
        pretrain(_small(tmp_path / "run", resume=True))


def test_resuming_with_other_settings_is_refused(tmp_path):
    pretrain(_small(tmp_path / "run"))
    with pytest.raises(ValueError, match="learning_rate=0.5.*learning_rate=0.001"):
        pretrain(_small(tmp_path / "run", resume=True, learning_rate=0.5))


@pytest.mark.parametrize("change", [{"steps": 0}, {"workers": 0}, {"batch_size": 21}])
def test_wrong_numbers_are_refused(change, tmp_path):
    with pytest.raises(ValueError, match=next(iter(change))):
        _small(tmp_path / "run", **change)


# --- what ships


def test_the_shipped_checkpoint_is_small_and_whole():
    weights = ASSET / "model.safetensors"
    assert weights.stat().st_size <= 8_000_000
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.float32}
    model, report = CLIPModel.from_pretrained(ASSET, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert isinstance(model, CLIPModel)
    config = json.loads((ASSET / "config.json").read_text())
    assert not [key for key in config if "attn" in key]


def test_the_shipped_tokenizer_and_processor_fit_the_model():
    model, tokenizer = CLIPModel.from_pretrained(ASSET), CLIPTokenizer.from_pretrained(ASSET)
    assert model.config.text_config.vocab_size == len(tokenizer)
    assert model.config.text_config.eos_token_id == tokenizer.eos_token_id == len(tokenizer) - 1
    processor = CLIPImageProcessorPil.from_pretrained(ASSET)
    image, _ = render_catalogue_item(stream(2))
    assert processor(images=[image], return_tensors="pt")["pixel_values"].shape == (1, 3, 96, 96)


def test_the_shipped_checkpoint_finds_people_by_sentence():
    """A tenth of the test split; chance is about 3 %."""
    model, tokenizer = CLIPModel.from_pretrained(ASSET).eval(), CLIPTokenizer.from_pretrained(ASSET)
    metrics = pretraining._measure(model, pretraining._street_pairs(tokenizer, 0, range(950, 980), captions=2))
    assert metrics.rank_1 > 45


def test_the_shipped_card_tells_the_measured_figures():
    figures = json.loads((RESULTS / "zero_shot.json").read_text())["zero_shot"]
    card = (ASSET / "README.md").read_text()
    for values in figures.values():
        assert f"{values['R@1']:.1f}" in card
    assert figures["street test"]["R@1"] >= 20
