"""An adapter goes onto the base that it was made for, by every door of PEFT, and onto no other."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModel, PeftModel
from transformers import AutoModel, CLIPConfig, CLIPModel, CLIPTextModel

from modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.loading import load_model
from prompting import adapted


@pytest.fixture(scope="module")
def square_adapter(tiny_clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter made on a plain CLIP, for 64x64 images."""
    folder = tmp_path_factory.mktemp("adapters") / "square"
    adapted(CLIPModel.from_pretrained(tiny_clip_folder)).save_pretrained(folder)
    return folder


@pytest.fixture
def wanted(build: Callable, embed: Callable) -> torch.Tensor:
    """What the square adapter says: `adapted` draws the same prompts again."""
    return embed(adapted(build(CLIPModel)))


DOORS = {
    "PeftModel": lambda clip, adapter: PeftModel.from_pretrained(CLIPModel.from_pretrained(clip), adapter),
    "PeftModel on ours": lambda clip, adapter: PeftModel.from_pretrained(
        PromptCLIPModel.from_clip(clip, None), adapter
    ),
    "AutoPeftModel": lambda clip, adapter: AutoPeftModel.from_pretrained(adapter),
    "AutoModel": lambda clip, adapter: AutoModel.from_pretrained(adapter),
    "PromptCLIPModel": lambda clip, adapter: PromptCLIPModel.from_pretrained(adapter),
    "load_model": lambda clip, adapter: load_model(adapter)[0],
}


@pytest.mark.parametrize("door", DOORS)
def test_a_square_adapter_comes_through_every_door(tiny_clip_folder, square_adapter, embed, wanted, door):
    assert torch.equal(embed(DOORS[door](tiny_clip_folder, square_adapter)), wanted)


def test_a_rectangular_adapter_whose_base_is_saved_at_its_size(tiny_folder, build, embed, tmp_path):
    adapted(PromptCLIPModel.from_pretrained(tiny_folder)).save_pretrained(tmp_path)
    wanted = embed(adapted(build(PromptCLIPModel)))
    onto_base = PeftModel.from_pretrained(PromptCLIPModel.from_pretrained(tiny_folder), tmp_path)
    # PEFT imports no package that an adapter names, unless it is told to
    by_peft = AutoPeftModel.from_pretrained(tmp_path, import_allowlist=["modeling_prompt_clip"])
    assert torch.equal(embed(onto_base), wanted) and torch.equal(embed(by_peft), wanted)
    assert torch.equal(embed(AutoModel.from_pretrained(tmp_path)), wanted)


@pytest.mark.parametrize(
    "load",
    [
        lambda adapter: AutoPeftModel.from_pretrained(adapter, import_allowlist=["modeling_prompt_clip"]),
        AutoModel.from_pretrained,
        PromptCLIPModel.from_pretrained,
    ],
    ids=["AutoPeftModel", "AutoModel", "PromptCLIPModel"],
)
def test_doors_that_load_the_base_at_its_own_size_are_refused(tiny_adapter_folder, load):
    with pytest.raises(
        ValueError, match=r"image_size of the adapter is 96x32, that of the base model 64x64.*from_clip"
    ):
        load(tiny_adapter_folder)


def test_the_adapters_image_size_is_taken_by_load_model(tiny_adapter_folder):
    model, processor = load_model(tiny_adapter_folder)
    assert model.config.vision_config.image_height_width == processor.image_size == (96, 32)


def test_two_adapters_side_by_side(build, embed, square_adapter, tmp_path):
    other = adapted(build(CLIPModel), seed=12)
    other.save_pretrained(tmp_path)
    model = PeftModel.from_pretrained(build(CLIPModel), square_adapter, adapter_name="first")
    first = embed(model)
    model.load_adapter(tmp_path, adapter_name="second")
    model.set_adapter("second")
    assert torch.equal(embed(model), embed(other))
    model.set_adapter("first")
    assert torch.equal(embed(model), first)


# wrong bases


def other_clip(folder: Path, tower: str, **changes: int) -> CLIPModel:
    """A CLIP with random weights, of another shape than that of `folder`."""
    config = CLIPConfig.from_pretrained(folder).to_dict()
    config[f"{tower}_config"].update(changes)
    return CLIPModel(CLIPConfig.from_dict(config))


@pytest.mark.parametrize(
    ("tower", "change", "message"),
    [
        ("vision", {"image_size": 32}, "image_size of the adapter is 64x64, that of the base model 32x32"),
        ("vision", {"hidden_size": 64}, "vision tower of 3 layers of width 48, that of this base model has 3 of 64"),
        ("vision", {"num_hidden_layers": 4}, "vision tower of 3 layers of width 48, .* has 4 of 48"),
        ("vision", {"num_hidden_layers": 2}, "vision tower of 3 layers of width 48, .* has 2 of 48"),
        ("text", {"hidden_size": 64}, "text tower of 3 layers of width 32, .* has 3 of 64"),
        ("text", {"num_hidden_layers": 2}, "text tower of 3 layers of width 32, .* has 2 of 32; load .*tiny_clip"),
    ],
)
def test_a_base_of_another_shape_is_refused(tiny_clip_folder, square_adapter, tower, change, message):
    """With other depths, PEFT would drop prompts or draw new ones."""
    with pytest.raises(ValueError, match=message):
        PeftModel.from_pretrained(other_clip(tiny_clip_folder, tower, **change), square_adapter)


def test_one_tower_alone_is_refused(tiny_clip_folder, square_adapter):
    tower = CLIPTextModel(CLIPConfig.from_pretrained(tiny_clip_folder).text_config)
    with pytest.raises(ValueError, match=r"model_type 'clip_text_model'\) has no text_config"):
        PeftModel.from_pretrained(tower, square_adapter)


def test_a_base_of_another_name_is_the_callers_choice(tiny_clip_folder, square_adapter, embed):
    """Weights move, so the name is a record, as for all of PEFT's methods: what has the right shape is taken."""
    other = other_clip(tiny_clip_folder, "text")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = PeftModel.from_pretrained(other, square_adapter)
    assert model.peft_config["default"].base_model_name_or_path == str(tiny_clip_folder)
    assert embed(model).isfinite().all()


def test_the_bases_shape_is_recorded_and_may_be_missing(tiny_clip_folder, square_adapter, embed, wanted, tmp_path):
    path = square_adapter / "adapter_config.json"
    settings = json.loads(path.read_text())
    assert settings.pop("base_towers") == {"text": [3, 32], "vision": [3, 48]}
    (tmp_path / path.name).write_text(json.dumps(settings))  # as adapters were before it was recorded
    (tmp_path / "adapter_model.safetensors").write_bytes((square_adapter / "adapter_model.safetensors").read_bytes())
    assert torch.equal(embed(DOORS["PeftModel"](tiny_clip_folder, tmp_path)), wanted)
