"""The configuration: prompts and rectangles, and plain CLIP's configuration adopted."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, CLIPConfig

from modeling_prompt_clip import ClipPromptConfig, PromptCLIPConfig
from modeling_prompt_clip.configuration_prompt_clip import as_image_size, prompt_settings, validate_prompt_settings


def test_default_is_clip_without_prompts():
    config = PromptCLIPConfig()
    plain = CLIPConfig().to_dict()
    for tower in ("text_config", "vision_config"):
        ours = getattr(config, tower).to_dict()
        assert (ours.pop("prompt_length"), ours.pop("prompt_layers")) == (0, None)
        assert ours.pop("model_type") == f"prompt_clip_{tower.removesuffix('_config')}_model"
        ours.pop("transformers_version")
        plain[tower].pop("model_type")
        assert ours == plain[tower]


def test_round_trip_through_a_file_and_auto_config(tmp_path: Path):
    config = PromptCLIPConfig(
        text_config={"prompt_length": 3, "prompt_layers": [0, 2]},
        vision_config={"prompt_length": 5, "image_size": [384, 128], "patch_size": 16},
    )
    config.save_pretrained(tmp_path)
    for loaded in (PromptCLIPConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert type(loaded) is PromptCLIPConfig
        assert loaded.to_json_string() == config.to_json_string()
        assert (loaded.text_config.prompt_length, loaded.text_config.prompt_layers) == (3, [0, 2])
        assert loaded.vision_config.image_height_width == (384, 128)
        assert loaded.vision_config.patch_grid == (24, 8)


def test_plain_clip_configuration_is_adopted(tiny_clip_folder: Path):
    config = PromptCLIPConfig.from_pretrained(tiny_clip_folder)
    plain = CLIPConfig.from_pretrained(tiny_clip_folder)
    assert config.model_type == "prompt_clip"
    assert config.text_config.model_type == "prompt_clip_text_model"
    assert config.text_config.eos_token_id == plain.text_config.eos_token_id == 2
    for tower in ("text_config", "vision_config"):
        assert getattr(config, tower).hidden_size == getattr(plain, tower).hidden_size
        assert getattr(config, tower).prompt_length == 0


def test_old_config_dicts_count_as_in_clip(tiny_clip_folder: Path, tmp_path: Path):
    """`openai/clip-vit-large-patch14` states its sizes in `text_config_dict` and `vision_config_dict` too."""
    stored = json.loads((tiny_clip_folder / "config.json").read_text())
    stored["text_config_dict"] = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2}
    stored["vision_config_dict"] = {"hidden_size": 48, "num_attention_heads": 4, "patch_size": 8, "image_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    ours, plain = PromptCLIPConfig.from_pretrained(tmp_path), CLIPConfig.from_pretrained(tmp_path)
    assert ours.text_config.num_hidden_layers == plain.text_config.num_hidden_layers == 2
    assert ours.vision_config.patch_grid == (8, 8)
    assert ours.text_config.model_type == "prompt_clip_text_model"


@settings(deadline=None, max_examples=50)
@given(height=st.integers(1, 600), width=st.integers(1, 600), patch=st.integers(1, 40))
def test_image_size_is_accepted_exactly_when_patches_fill_it(height: int, width: int, patch: int):
    if height % patch == 0 and width % patch == 0:
        assert as_image_size([height, width], patch) == (height, width)
        return
    with pytest.raises(ValueError, match="does not divide") as error:
        as_image_size([height, width], patch)
    remedy = str(error.value).rpartition("take ")[2]
    assert all(int(side) % patch == 0 and int(side) > 0 for side in remedy.split(" or "))


def test_image_size_of_a_square_is_one_number():
    assert as_image_size(224, 16) == (224, 224)


@settings(deadline=None, max_examples=50)
@given(
    length=st.integers(1, 9),
    layers=st.integers(1, 6).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))),
)
def test_prompt_settings_say_what_the_layers_hold(length: int, layers: tuple[int, set[int]]):
    count, prompted = layers
    lengths = [length if layer in prompted else 0 for layer in range(count)]
    stated_length, stated_layers = prompt_settings("text", lengths)
    where = range(count) if stated_layers is None else stated_layers
    assert [stated_length if layer in where else 0 for layer in range(count)] == lengths
    validate_prompt_settings("text", stated_length, stated_layers, count)


def test_uneven_prompts_cannot_be_stated():
    with pytest.raises(ValueError, match=r"text tower would hold \[2, 5, 0\] prompts.*prompt_layers"):
        prompt_settings("text", [2, 5, 0])


def test_every_adapter_setting_has_help():
    ours = {"text_prompt_length", "vision_prompt_length", "prompt_layers", "prompt_init", "init_std", "image_size"}
    fields = ClipPromptConfig.__dataclass_fields__
    assert ours <= set(fields)
    assert all(fields[name].metadata["help"] for name in ours)
