"""Which CLIP a checkpoint holds, and what is refused by name instead of being converted to other embeddings."""

import pytest
import torch

from modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.conversion import convert_checkpoint, find_layout


def check(source, folder):
    """The folder's embeddings are the source's."""
    images, ids = source.batch()
    model = PromptCLIPModel.from_pretrained(folder).eval()
    with torch.no_grad():
        output = model(input_ids=ids, pixel_values=images)
    for got, expected in zip((output.image_embeds, output.text_embeds), source.embeddings(), strict=True):
        torch.testing.assert_close(got, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"net": state},
        lambda state: {"model_state": state, "optimizer": {"state": {0: {"exp_avg": torch.ones(9)}}}},
        lambda state: {"ema": state, "step": 7},
        lambda state: {"model_ema": {"module": state}},
        lambda state: {"state": {"model": {f"module.{name}": tensor for name, tensor in state.items()}}},
        lambda state: {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"model": {f"_orig_mod.{name}": torch.nn.Parameter(tensor) for name, tensor in state.items()}},
    ],
)
def test_the_state_dict_is_found_under_any_key(source, convert, wrap):
    state = {name: tensor for name, tensor in source.state("irra").items() if tensor.is_floating_point()}
    _, folder = convert(wrap(state))
    check(source, folder)


def test_one_of_several_state_dicts_is_asked_for(source, convert):
    state = source.state("irra")
    average = {name: tensor + 1 for name, tensor in state.items()}
    with pytest.raises(ValueError, match=r"several CLIPs; choose one by prefix: 'ema\.base_model\.', 'model\.base"):
        convert({"model": state, "ema": average})
    _, folder = convert({"model": state, "ema": average}, prefix="model.base_model.")
    check(source, folder)


def test_a_prefix_may_be_the_end_of_the_whole_beginning(source, convert):
    state = {f"student.{name}": tensor for name, tensor in source.state("irra").items()}
    _, folder = convert(state, prefix="base_model.")
    check(source, folder)
    with pytest.raises(ValueError, match=r"under the prefix 'other\.'.*prefixes that hold one: 'student\.base_model"):
        find_layout(state, "other.")


def test_open_clips_custom_text_layout(make_source, convert):
    source = make_source(gelu=True)
    converted, folder = convert(source.state("open_clip, custom text"))
    check(source, folder)
    assert converted.family == "open_clip" and converted.dropped == []


@pytest.mark.parametrize("kind", ["openai", "irra", "tbps", "transformers", "open_clip, custom text"])
@pytest.mark.parametrize(
    "name",
    [
        "VISION.transformer.resblocks.0.ls_1.gamma",
        "VISION.transformer.resblocks.1.adapter.down.weight",
        "VISION.encoder.layers.0.self_attn.q_proj.lora_A.weight",
        "VISION.ln_extra.weight",
        "VISION.head.weight",
        "TEXTtransformer.resblocks.0.attn.lora_A",
        "TEXTtransformer.prefix",
        "TEXTln_final.scale",
    ],
)
def test_tensors_inside_the_towers_are_refused_and_not_left_out(source, convert, tmp_path, kind, name):
    layout = find_layout(source.state(kind))
    name = name.replace("VISION.", layout.vision).replace("TEXT", layout.text)
    with pytest.raises(ValueError, match=r"refused"):
        convert({**source.state(kind), name: torch.ones(128)})
    assert not (tmp_path / "converted").exists()


@pytest.mark.parametrize("name", ["prompt_learner.ctx", "base_model.image_adapter.fc.weight"])
def test_what_steers_the_towers_from_outside_is_refused(source, convert, name):
    state = {f"base_model.{key}": tensor for key, tensor in source.state("openai").items()}
    with pytest.raises(ValueError, match="refused"):
        convert({**state, f"base_model.{name.removeprefix('base_model.')}": torch.ones(4)})


@pytest.mark.parametrize(
    ("names", "model"),
    [
        (("visual.conv1.weight", "visual.layer1.0.conv1.weight", "token_embedding.weight"), "a ResNet"),
        (("base_model.visual.attnpool.c_proj.weight", "base_model.token_embedding.weight"), "a ResNet"),
        (("visual.trunk.blocks.0.norm1.weight", "text.token_embedding.weight"), "SigLIP, EVA, MobileCLIP"),
        (("visual.blocks.0.attn.q_bias", "text.token_embedding.weight"), "an EVA-CLIP"),
        (("vision_model.head.probe", "vision_model.embeddings.patch_embedding.bias"), "a SigLIP"),
        (("visual_encoder.blocks.0.norm1.weight", "text_encoder.embeddings.word_embeddings.weight"), "BLIP"),
        (("vision_encoder.layers.0.blocks.0.norm1.weight",), "APTM"),
        (("image_encoder.conv1.weight", "prompt_learner.cls_ctx"), "CLIP-ReID"),
        (("visual.conv1.weight", "text.transformer.embeddings.word_embeddings.weight"), "Hugging Face text tower"),
    ],
)
def test_other_models_are_refused_by_name(convert, names, model):
    with pytest.raises(ValueError, match=model):
        convert({name: torch.ones(2, 2) for name in names})


def test_a_resnet_beside_all_other_tensors_of_clip(source, convert):
    with pytest.raises(ValueError, match=r"a ResNet.*base_model\.visual\.layer1"):
        convert({**source.state("irra"), "base_model.visual.layer1.0.conv1.weight": torch.ones(2, 2)})


@pytest.mark.parametrize(
    "kind", ["openai", "transformers", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("irra", "tbps"))]
)
def test_any_tensor_that_lacks_is_named(source, convert, tmp_path, kind):
    state = source.state(kind)
    layout = find_layout(state)
    ours = [name for name in state if name.startswith((layout.vision, layout.text)) and "position_ids" not in name]
    parts = ("resblocks.0", "layers.0", "proj", "positional", "position_emb", "token_emb", "ln_", "norm", "class")
    for name in [name for name in ours if any(part in name for part in parts)]:
        if not name.startswith(("classifier", "ln_post", "simclr", "logit", "input")):
            with pytest.raises(ValueError, match=rf"lacks (1 tensor of CLIP, such as )?{name}"):
                convert({key: tensor for key, tensor in state.items() if key != name})
    assert not (tmp_path / "converted").exists()


def test_a_whole_layer_that_lacks_is_named(source, convert):
    state = {
        name: tensor
        for name, tensor in source.state("irra").items()
        if "base_model.transformer.resblocks.1" not in name
    }
    with pytest.raises(ValueError, match=r"lacks 12 tensors of CLIP, such as base_model\.transformer\.resblocks\.1\."):
        convert(state)


def test_a_model_folder_is_no_checkpoint(tiny_clip_folder, tmp_path):
    with pytest.raises(OSError, match="is a model folder already: use it as it is"):
        convert_checkpoint(tiny_clip_folder, tmp_path / "converted", tokenizer=tiny_clip_folder)
    with pytest.raises(OSError, match="is a folder; give the"):
        convert_checkpoint(tmp_path, tmp_path / "converted", tokenizer=tiny_clip_folder)
