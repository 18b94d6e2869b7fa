"""What tensors do not tell: said by the caller, the file or the family, or assumed and said."""

import json

import pytest
import torch

from modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.conversion.choices import choose_head_width
from modeling_prompt_clip.conversion.families import CLIP_LIKE, IRRA, OPEN_CLIP


def check(source, folder):
    images, ids = source.batch()
    model = PromptCLIPModel.from_pretrained(folder).eval()
    with torch.no_grad():
        output = model(input_ids=ids, pixel_values=images)
    for got, expected in zip((output.image_embeds, output.text_embeds), source.embeddings(), strict=True):
        torch.testing.assert_close(got, expected, atol=2e-6, rtol=0)


def open_clip_config(tmp_path, vision=(), text=(), preprocess=(), **model):
    towers = {
        "vision_cfg": {"width": 160, "head_width": 80, "image_size": [96, 32], **dict(vision)},
        "text_cfg": {"width": 64, "heads": 1, "context_length": 20, **dict(text)},
    }
    content = {"model_cfg": {"embed_dim": 32, **towers, **model}, "preprocess_cfg": dict(preprocess)}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("kind", "wrap", "activation", "is_assumed"),
    [
        ("openai", dict, "quick_gelu", False),
        ("irra", dict, "quick_gelu", False),
        ("clip2textreid", dict, "quick_gelu", False),
        ("tbps", dict, "quick_gelu", False),
        ("open_clip", dict, "quick_gelu", True),
        ("transformers", dict, "quick_gelu", True),
        ("open_clip, custom text", dict, "gelu", True),
        ("open_clip", lambda state: {**state, "logit_bias": torch.tensor(-10.0)}, "gelu", True),
        ("open_clip", lambda state: {"epoch": 3, "name": "run", "state_dict": state}, "gelu", True),
        (
            "open_clip",
            lambda state: {"epoch": 3, "name": "model_ViT-B-16-quickgelu-lr_1", "state_dict": state},
            "quick_gelu",
            False,
        ),
    ],
)
def test_activation_where_nobody_names_it(make_source, convert, kind, wrap, activation, is_assumed):
    source = make_source(gelu=activation == "gelu")
    converted, folder = convert(wrap(source.state(kind)))
    assert converted.choices["activation"].is_assumed == is_assumed
    assert converted.config.vision_config.hidden_act == converted.config.text_config.hidden_act == activation
    other = {"gelu": "quick_gelu", "quick_gelu": "gelu"}[activation]
    assert (f"--activation {other}" in converted.choices["activation"].why) == is_assumed
    check(source, folder)


@pytest.mark.parametrize("name", ["open_clip_pytorch_model.bin", "laion2b_vit_b16.pt"])
def test_the_name_of_the_file_points_at_open_clip(make_source, convert, name):
    converted, _ = convert(make_source(gelu=True).state("open_clip"), name)
    assert converted.choices["activation"].value == "gelu" and converted.choices["activation"].is_assumed


def test_the_name_of_the_file_says_quickgelu(make_source, convert):
    converted, folder = convert(make_source().state("open_clip"), "vit_b_32-quickgelu-laion400m_e32-46683a32.pt")
    choice = converted.choices["activation"]
    assert (choice.value, choice.is_assumed) == ("quick_gelu", False) and "46683a32" in choice.why


def test_activation_as_given(make_source, convert):
    source = make_source(gelu=True)
    with pytest.raises(ValueError, match="activation is 'relu'; it must be 'quick_gelu' or 'gelu'"):
        convert(source.state(), name="other.pth", activation="relu")
    converted, folder = convert(source.state("irra"), activation="gelu")
    assert converted.choices["activation"].why == "as given"
    check(source, folder)


@pytest.mark.parametrize("quick", [True, False])
def test_open_clips_configuration_decides(make_source, convert, tmp_path, quick):
    source = make_source(width=160, head_width=80, gelu=not quick)
    statistics = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 0.5], "interpolation": "bilinear"}
    open_clip_config(tmp_path, preprocess=statistics, quick_gelu=quick)
    converted, folder = convert(source.state("open_clip"), "open_clip_model.safetensors")
    check(source, folder)
    assert not any(choice.is_assumed for choice in converted.choices.values())
    settings = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    assert (settings["image_mean"], settings["image_std"]) == (statistics["mean"], statistics["std"])
    assert settings["resample"] == 2
    assert converted.choices["image_size"].why == "as open_clip_config.json says"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vision": {"width": 768}}, r"another model: vision_cfg\.width is 768, in the checkpoint it is 160"),
        ({"vision": {"pool_type": "avg"}}, r"vision_cfg\.pool_type 'avg': refused"),
        ({"vision": {"no_ln_pre": True}}, r"vision_cfg\.no_ln_pre True: refused"),
        ({"vision": {"timm_model_name": "vit"}}, r"vision_cfg\.timm_model_name 'vit': refused"),
        ({"vision": {"head_width": 0}}, "a width that is not a positive integer"),
        ({"vision": {"head_width": 33}}, "head_width 33 does not divide the width of the vision tower, 160"),
        ({"text": {"no_causal_mask": True}}, r"text_cfg\.no_causal_mask True: refused"),
        ({"text": {"heads": "1"}}, "a width that is not a positive integer"),
        ({"preprocess": {"mean": [0.5], "std": [1]}}, "they must be three numbers"),
    ],
)
def test_open_clips_configurations_that_cannot_be_had(make_source, convert, tmp_path, settings, message):
    open_clip_config(tmp_path, **settings)
    with pytest.raises(ValueError, match=message):
        convert(make_source(width=160, head_width=80).state("open_clip"))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model_cfg": 3}', '{"model_cfg": {"vision_cfg": {}}}', "<p>"])
def test_damaged_configurations_of_open_clip(source, convert, tmp_path, content):
    (tmp_path / "open_clip_config.json").write_text(content)
    with pytest.raises(ValueError, match=r"open_clip_config\.json (cannot be read|has no vision_cfg)"):
        convert(source.state("open_clip"))


def test_heads_of_another_width_are_asked_for(make_source, convert):
    source = make_source(width=160, head_width=80)
    with pytest.raises(ValueError, match=r"vision tower is 160 wide.*give --head_width.*80 in ViT-H"):
        convert(source.state("open_clip"))
    with pytest.raises(ValueError, match="head_width 64 does not divide the width of the vision tower, 160"):
        convert(source.state("open_clip"), head_width=64)
    converted, folder = convert(source.state("open_clip"), head_width=80)
    assert converted.config.vision_config.num_attention_heads == 2
    check(source, folder)


@pytest.mark.parametrize(
    ("tower", "width", "family", "expected"),
    [
        ("vision", 768, CLIP_LIKE, 64),
        ("vision", 1024, CLIP_LIKE, 64),
        ("vision", 1280, OPEN_CLIP, 80),
        ("vision", 1408, OPEN_CLIP, 88),
        ("vision", 1664, OPEN_CLIP, 104),
        ("vision", 1792, OPEN_CLIP, 112),
        ("vision", 1280, IRRA, 64),  # its code divides by 64 whatever the width
        ("vision", 1152, CLIP_LIKE, None),
        ("vision", 1536, OPEN_CLIP, None),
        ("vision", 100, IRRA, None),
        ("text", 1280, OPEN_CLIP, 64),
        ("text", 1152, OPEN_CLIP, 64),
        ("text", 1408, OPEN_CLIP, None),
    ],
)
def test_head_widths_of_known_models(tower, width, family, expected):
    if expected is None:
        with pytest.raises(ValueError, match=f"the {tower} tower is {width} wide, as no known CLIP"):
            choose_head_width(tower, width, None, family, None)
    else:
        assert choose_head_width(tower, width, None, family, None).value == expected
