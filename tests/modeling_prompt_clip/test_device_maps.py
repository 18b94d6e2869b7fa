"""Models split over devices and offloaded: prompts go where their layer goes, and what cannot work says so."""

from pathlib import Path

import accelerate
import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModel, CLIPModel

from modeling_prompt_clip import ClipPromptConfig, PromptCLIPModel, PromptCLIPProcessor

pytestmark = [
    pytest.mark.filterwarnings("ignore:The following device_map keys do not match any submodules:UserWarning"),
    pytest.mark.filterwarnings("ignore:Attempting to save a model with offloaded modules:UserWarning"),
]
REST = {"visual_projection": "cpu", "text_projection": "cpu", "logit_scale": "cpu"}
CPU = torch.device("cpu")


def layers(tower: str, **places: str) -> dict[str, str]:
    """A device map of one tower: the first layer on the CPU, the others on disk, and `places` for the rest of it."""
    own = {f"{tower}_model.{name}": place for name, place in places.items()}
    return own | {f"{tower}_model.encoder.layers.{index}": "disk" if index else "cpu" for index in range(3)}


MAPS = {
    "all": {"": "disk"},
    "one tower": {**REST, "text_model": "cpu", "vision_model": "disk"},
    "text layers": {**REST, "vision_model": "cpu", **layers("text", embeddings="cpu", final_layer_norm="disk")},
    "vision layers": {
        **REST,
        "text_model": "disk",
        **layers("vision", embeddings="disk", pre_layrnorm="cpu", post_layernorm="disk"),
    },
}


@pytest.fixture
def processor(merged_folder: Path) -> PromptCLIPProcessor:
    return PromptCLIPProcessor.from_pretrained(merged_folder)


def on_meta(model: torch.nn.Module) -> list[str]:
    return [name for name, value in [*model.named_parameters(), *model.named_buffers()] if value.is_meta]


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("offload_buffers", [False, True])
def test_split_over_cpu_and_disk(merged_folder, processor, wanted, embed_people, tmp_path, name, offload_buffers):
    settings = {"offload_folder": tmp_path, "offload_buffers": offload_buffers}
    model = AutoModel.from_pretrained(merged_folder, device_map=MAPS[name], **settings)
    before = on_meta(model)
    assert any(name.endswith("prompt.weight") for name in before) == offload_buffers
    assert torch.equal(embed_people(model, processor), wanted)
    assert on_meta(model) == before  # taken out of memory again
    assert torch.equal(embed_people(model, processor), wanted)


def test_auto_with_too_little_memory_goes_to_disk(merged_folder, processor, wanted, embed_people, tmp_path):
    settings = {"max_memory": {"cpu": "500KB"}, "offload_folder": tmp_path}
    model = AutoModel.from_pretrained(merged_folder, device_map="auto", **settings)
    assert model.hf_device_map["vision_model.encoder.layers.0"] == "cpu"
    assert model.hf_device_map["vision_model.encoder.layers.1"] == "disk"
    assert torch.equal(embed_people(model, processor), wanted)


@pytest.mark.parametrize("offload_buffers", [False, True])
@pytest.mark.parametrize("to_disk", [False, True])
def test_offloaded_by_accelerate(merged_folder, processor, wanted, embed_people, tmp_path, to_disk, offload_buffers):
    model = AutoModel.from_pretrained(merged_folder)
    settings = {"execution_device": CPU, "offload_buffers": offload_buffers}
    if to_disk:
        model = accelerate.disk_offload(model, tmp_path, **settings)
    else:
        model = accelerate.cpu_offload(model, **settings)
    assert len(on_meta(model)) > 100
    assert torch.equal(embed_people(model, processor), wanted)


def test_one_token_alone_when_offloaded(merged_folder, processor, wanted, pictures, tmp_path):
    model = AutoModel.from_pretrained(merged_folder, device_map={"": "disk"}, offload_folder=tmp_path)
    with torch.no_grad():
        output = model(**processor(images=pictures, text=["a man in red"]), pooled_only=True)
    torch.testing.assert_close(output.image_embeds, wanted[2:], atol=1e-6, rtol=0)
    torch.testing.assert_close(output.text_embeds, wanted[:1], atol=1e-6, rtol=0)


def test_an_offloaded_model_can_be_saved(merged_folder, processor, wanted, embed_people, tmp_path):
    model = AutoModel.from_pretrained(merged_folder, device_map={"": "disk"}, offload_folder=tmp_path / "disk")
    model.save_pretrained(tmp_path / "saved")
    assert torch.equal(embed_people(AutoModel.from_pretrained(tmp_path / "saved"), processor), wanted)


def test_empty_weights_filled_by_accelerate(merged_folder, processor, wanted, embed_people):
    config = PromptCLIPModel.config_class.from_pretrained(merged_folder)
    with accelerate.init_empty_weights():
        model = PromptCLIPModel(config)
    model = accelerate.load_checkpoint_and_dispatch(model, str(merged_folder), device_map="auto")
    assert not on_meta(model)
    assert torch.equal(embed_people(model, processor), wanted)


def test_no_layer_is_split(merged_folder):
    """However little fits on a device: a layer and its prompts stay together, and so do the embeddings."""
    model = AutoModel.from_pretrained(merged_folder)
    places = set()
    for kilobytes in range(300, 560, 20):
        memory = {"cpu": f"{kilobytes}KB", "disk": "1GB"}
        found = accelerate.infer_auto_device_map(
            model, max_memory=memory, no_split_module_classes=model._no_split_modules
        )
        places |= set(found)
    assert any(place.startswith("vision_model.encoder.layers.") for place in places)  # the map did go that deep
    assert not [place for place in places if "embeddings." in place or len(place.split(".")) > 4]


# plain and PromptCLIP across devices, emulated: accelerate's hooks without a second device


def spread(model: CLIPModel) -> CLIPModel:
    """Every layer, norm, projection and embedding a device of its own, were there so many."""
    parts = ("embeddings", "final_layer_norm", "pre_layrnorm", "post_layernorm", "projection")
    names = [name for name, _ in model.named_modules() if name.endswith(parts) or name.split(".")[-2:-1] == ["layers"]]
    places = dict.fromkeys([*names, "logit_scale"], "cpu")
    return accelerate.dispatch_model(model, places, main_device="cpu", force_hooks=True)


def test_resizing_keeps_the_hooks_of_a_spread_model(tiny_clip_folder, pixel_values):
    resized = spread(PromptCLIPModel.from_pretrained(tiny_clip_folder)).resized((96, 32))
    assert hasattr(resized.vision_model.embeddings, "_hf_hook")
    plain = PromptCLIPModel.from_clip(tiny_clip_folder, image_size=(96, 32))
    with torch.no_grad():
        assert torch.equal(resized(pixel_values=pixel_values).image_embeds, plain(pixel_values=pixel_values)[0])


def test_an_adapter_on_a_spread_model(build, embed, tiny_adapter_folder):
    wanted = embed(PeftModel.from_pretrained(build(PromptCLIPModel), tiny_adapter_folder))
    model = PeftModel.from_pretrained(spread(build(PromptCLIPModel)), tiny_adapter_folder)
    assert torch.equal(embed(model), wanted)


@pytest.mark.parametrize("remove_hooks", [False, True])
def test_a_spread_plain_clip_is_refused(tiny_clip_folder, remove_hooks):
    """Its layers would go on without prompts, and nobody would know."""
    model = spread(CLIPModel.from_pretrained(tiny_clip_folder))
    if remove_hooks:
        accelerate.hooks.remove_hook_from_submodules(model)
    with pytest.raises(ValueError, match=r"layers of this CLIPModel are wrapped.*PromptCLIPModel\.from_clip"):
        get_peft_model(model, ClipPromptConfig())


# what cannot be done to an offloaded model is refused


@pytest.mark.parametrize("base_class", [CLIPModel, PromptCLIPModel])
def test_an_adapter_on_an_offloaded_model_is_refused(tiny_clip_folder, tmp_path, base_class):
    """transformers' `load_adapter` would leave the prompts at their random start."""
    get_peft_model(base_class.from_pretrained(tiny_clip_folder), ClipPromptConfig()).save_pretrained(tmp_path / "sq")
    settings = {"device_map": {"": "disk"}, "offload_folder": tmp_path / "disk"}
    model = base_class.from_pretrained(tiny_clip_folder, **settings)
    with pytest.raises(ValueError, match=rf"base model \({base_class.__name__}\) is offloaded.*save the merged model"):
        model.load_adapter(tmp_path / "sq")


def test_an_offloaded_model_is_not_resized(tiny_clip_folder, tmp_path):
    with pytest.raises(ValueError, match=r"position embeddings are offloaded \(device_map.*load the model without"):
        PromptCLIPModel.from_clip(
            tiny_clip_folder, image_size=(96, 32), device_map={"": "disk"}, offload_folder=tmp_path
        )
    model = PromptCLIPModel.from_clip(
        tiny_clip_folder, image_size=None, device_map={"": "disk"}, offload_folder=tmp_path
    )
    assert model.config.vision_config.image_height_width == (64, 64)
