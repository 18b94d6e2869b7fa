"""The pooled token is the one with which the tokenizer ends captions, whatever the configuration says, or an error."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.configuration_prompt_clip import PromptCLIPTextConfig
from modeling_prompt_clip.loading import load_model
from modeling_prompt_clip.prompted_towers import end_positions

END = 519
CAPTIONS = ["a man in red", "a woman"]


def with_end_token(source: Path, target: Path, eos: object) -> Path:
    shutil.copytree(source, target)
    config = json.loads((target / "config.json").read_text())
    config["text_config"].pop("eos_token_id", None)
    if eos != "left out":
        config["text_config"]["eos_token_id"] = eos
    (target / "config.json").write_text(json.dumps(config))
    return target


@pytest.mark.parametrize("eos", ["left out", None, 1, 2, END, [END], [], 49407, -1])
@pytest.mark.parametrize("kind", ["tiny_clip_folder", "tiny_folder"])
def test_every_usable_configuration_pools_the_end_token(request, tmp_path: Path, kind: str, eos: object):
    right = request.getfixturevalue(kind)
    folder = with_end_token(right, tmp_path / "model", eos)
    wanted, processor = load_model(right)
    inputs = processor(text=CAPTIONS)
    alone = PromptCLIPModel.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = wanted(**inputs).text_embeds
        for model in (alone, load_model(folder)[0]):
            assert torch.equal(model(**inputs).text_embeds, expected)
            assert torch.allclose(model(**inputs, pooled_only=True).text_embeds, expected, atol=1e-5)


def test_another_token_is_refused_with_the_right_one(tiny_clip_folder: Path, tmp_path: Path):
    folder = with_end_token(tiny_clip_folder, tmp_path / "model", 100)
    with pytest.raises(
        ValueError, match=rf"ends captions with token {END}, its config.json has 100 as .*; write {END}"
    ):
        load_model(folder)
    with pytest.raises(ValueError, match=f"ends captions with token {END}"):
        PromptCLIPProcessor.from_clip(folder)


def test_several_end_tokens_are_refused(tiny_clip_folder: Path, tmp_path: Path):
    folder = with_end_token(tiny_clip_folder, tmp_path / "model", [END, 7])
    with pytest.raises(ValueError, match=rf"eos_token_id of text_config is \[{END}, 7\]; give the one that ends"):
        load_model(folder)


def test_a_tokenizer_that_ends_captions_with_nothing(tiny_clip_folder: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_clip_folder, tmp_path / "model")
    tokenizer = PromptCLIPProcessor.from_clip(folder).tokenizer
    tokenizer.save_pretrained(folder)
    rules = json.loads((folder / "tokenizer.json").read_text()) | {"post_processor": None}
    (folder / "tokenizer.json").write_text(json.dumps(rules))
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | {"tokenizer_class": "TokenizersBackend"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="ends captions with no token of its own"):
        load_model(folder)


def test_padding_on_the_left_is_not_taken_over(tiny_clip_folder: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_clip_folder, tmp_path / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | {"padding_side": "left"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    model, processor = load_model(folder)
    right_model, right = load_model(tiny_clip_folder)
    with torch.no_grad():
        found, expected = (m(**p(text=CAPTIONS)).text_embeds for m, p in ((model, processor), (right_model, right)))
    assert torch.equal(found, expected)


def test_a_caption_without_the_end_token_ends_at_its_largest_id():
    input_ids = torch.tensor([[8, 3, 9, 1], [8, 5, 2, 5]])
    assert end_positions(input_ids, 5).tolist() == [2, 1]
    assert PromptCLIPTextConfig(vocab_size=50, eos_token_id=0).end_token_id == 0
