"""Deep prompts as key/value prefixes equal naive concatenate-and-replace: features and every gradient.

The reference runs CLIP's own sub-modules one by one: at each layer it puts the layer's prompts in front of the tokens,
lets all of them attend and be transformed, and throws the prompts' outputs away (VPT-deep, IVLP). It shares no code
with the model's attention. In float64 the two agree to rounding. A text tower whose causal mask were left to sdpa's
flag would lose its last tokens without an error: the text cases fail then.
"""

from pathlib import Path

import pytest
import torch
from peft import get_peft_model
from torch import nn
from transformers import CLIPModel

from modeling_prompt_clip import ClipPromptConfig, PromptCLIPModel

TEXT_LENGTH, VISION_LENGTH = 3, 5


def naive_attention(attention: nn.Module, states: torch.Tensor, visible: torch.Tensor | None) -> torch.Tensor:
    """Multi-head attention, one head at a time; `visible` is `(batch, queries, keys)`, true where attended."""
    outputs = []
    for head in range(attention.num_heads):
        part = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
        queries, keys, values = (
            (states @ project.weight.T + project.bias)[..., part]
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        scores = queries @ keys.transpose(1, 2) / attention.head_dim**0.5
        if visible is not None:
            scores = scores.masked_fill(~visible, float("-inf"))
        outputs.append(scores.softmax(-1) @ values)
    return attention.out_proj(torch.cat(outputs, dim=-1))


def naive_tower(tower: nn.Module, tokens: torch.Tensor, padding: torch.Tensor | None, causal: bool) -> torch.Tensor:
    """Concatenate-and-replace: `(batch, tokens, hidden_size)` -> the same shape, before the last norm."""
    batch, length, _ = tokens.shape
    for layer in tower.encoder.layers:
        prompts = layer.prompt()
        count = 0 if prompts is None else len(prompts)
        states = tokens if prompts is None else torch.cat([prompts.expand(batch, -1, -1), tokens], dim=1)
        visible = None
        if causal:
            visible = torch.ones(count + length, count + length).tril().bool().expand(batch, -1, -1)
            if padding is not None:
                seen = torch.cat([torch.ones(batch, count), padding], dim=1).bool()
                visible = visible & seen[:, None, :]
        states = states + naive_attention(layer.self_attn, layer.layer_norm1(states), visible)
        states = states + layer.mlp(layer.layer_norm2(states))
        tokens = states[:, count:]
    return tokens


def naive_image_features(model: nn.Module, pixel_values: torch.Tensor) -> torch.Tensor:
    tower = model.vision_model
    tokens = naive_tower(tower, tower.pre_layrnorm(tower.embeddings(pixel_values)), padding=None, causal=False)
    return model.visual_projection(tower.post_layernorm(tokens[:, 0]))


def naive_text_features(model: nn.Module, input_ids: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
    tower = model.text_model
    tokens = tower.final_layer_norm(naive_tower(tower, tower.embeddings(input_ids), padding, causal=True))
    end = [row.tolist().index(input_ids.max()) for row in input_ids]
    return model.text_projection(torch.stack([tokens[row, position] for row, position in enumerate(end)]))


def prompted_model(
    folder: Path, base: str, layers: list[int] | None, attention: str, dtype: torch.dtype = torch.float64
) -> nn.Module:
    """A CLIP with an adapter of strong prompts, on which every tensor is trainable."""
    if base == "CLIPModel":
        clip = CLIPModel.from_pretrained(folder, attn_implementation=attention)
    else:
        clip = PromptCLIPModel.from_clip(folder, image_size=(96, 32), attn_implementation=attention)
    torch.manual_seed(7)
    adapter = ClipPromptConfig(
        text_prompt_length=TEXT_LENGTH, vision_prompt_length=VISION_LENGTH, prompt_layers=layers, init_std=1.0
    )
    return get_peft_model(clip, adapter).base_model.model.to(dtype).eval().requires_grad_(True)


def relative_error(left: torch.Tensor, right: torch.Tensor) -> float:
    return ((left - right).abs().max() / right.abs().max()).item()


@pytest.fixture(params=["CLIPModel", "PromptCLIPModel"])
def base(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def images(base: str, pixel_values: torch.Tensor, square_pixel_values: torch.Tensor) -> torch.Tensor:
    return (square_pixel_values if base == "CLIPModel" else pixel_values).double()


@pytest.mark.parametrize("padded", [False, True], ids=["no_mask", "padding_mask"])
@pytest.mark.parametrize("layers", [None, [0, 2], [1]], ids=str)
def test_features_and_all_gradients_in_float64(
    tiny_clip_folder: Path,
    base: str,
    layers: list[int] | None,
    padded: bool,
    input_ids: torch.Tensor,
    images: torch.Tensor,
):
    model = prompted_model(tiny_clip_folder, base, layers, "sdpa")
    end = (input_ids == input_ids.max()).int().argmax(dim=1, keepdim=True)
    padding = (torch.arange(input_ids.shape[1]) <= end).long() if padded else None
    ours = [
        model.get_image_features(images).pooler_output,
        model.get_text_features(input_ids, attention_mask=padding).pooler_output,
    ]
    naive = [naive_image_features(model, images), naive_text_features(model, input_ids, padding)]
    for got, wanted in zip(ours, naive, strict=True):
        assert relative_error(got, wanted) < 1e-12

    parameters = {name: value for name, value in model.named_parameters() if name != "logit_scale"}
    prompted = 2 * len(range(3) if layers is None else layers)
    assert sum("clip_prompt_embeddings" in name for name in parameters) == prompted
    weights = torch.randn(2, *naive[0].shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    gradients = [
        torch.autograd.grad(sum((side * weight).sum() for side, weight in zip(sides, weights, strict=True)), values)
        for sides, values in ((ours, [*parameters.values()]), (naive, [*parameters.values()]))
    ]
    largest = max(gradient.abs().max() for gradient in gradients[1])
    for name, got, wanted in zip(parameters, *gradients, strict=True):
        assert (got - wanted).abs().max() / largest < 1e-12, name
        if "clip_prompt" in name:  # small beside the largest gradient: held to their own size as well
            assert relative_error(got, wanted) < 1e-11, name


def test_eager_differs_only_by_its_float32_softmax(
    tiny_clip_folder: Path, base: str, input_ids: torch.Tensor, images: torch.Tensor
):
    """CLIP's eager attention takes the softmax in float32 whatever the model's dtype: float64 cannot show there."""
    model = prompted_model(tiny_clip_folder, base, None, "eager")
    image, text = model.get_image_features(images), model.get_text_features(input_ids)
    assert relative_error(image.pooler_output, naive_image_features(model, images)) < 1e-6
    assert relative_error(text.pooler_output, naive_text_features(model, input_ids, None)) < 1e-6


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_float32(tiny_clip_folder: Path, base: str, attention: str, input_ids: torch.Tensor, images: torch.Tensor):
    model = prompted_model(tiny_clip_folder, base, None, attention, torch.float32)
    images = images.float()
    image, text = model.get_image_features(images), model.get_text_features(input_ids)
    assert relative_error(image.pooler_output, naive_image_features(model, images)) < 1e-5
    assert relative_error(text.pooler_output, naive_text_features(model, input_ids, None)) < 1e-5


def test_prompts_matter(tiny_clip_folder: Path, base: str, input_ids: torch.Tensor, images: torch.Tensor):
    """The comparisons above would also hold for a model that ignored its prompts."""
    model = prompted_model(tiny_clip_folder, base, None, "sdpa")
    images_with = model.get_image_features(images).pooler_output
    text_with = model.get_text_features(input_ids).pooler_output
    for layer in (*model.text_model.encoder.layers, *model.vision_model.encoder.layers):
        layer.prompt.enable_adapters(False)
    assert relative_error(model.get_image_features(images).pooler_output, images_with) > 0.1
    assert relative_error(model.get_text_features(input_ids).pooler_output, text_with) > 0.1


def test_leaving_the_mask_to_sdpa_would_be_caught(
    tiny_clip_folder: Path, input_ids: torch.Tensor, monkeypatch: pytest.MonkeyPatch
):
    """transformers' sdpa silently drops the last keys when it gets a causal flag, more keys than queries, no mask."""
    model = prompted_model(tiny_clip_folder, "PromptCLIPModel", None, "sdpa")
    wanted = naive_text_features(model, input_ids, None)
    monkeypatch.setattr("modeling_prompt_clip.prompted_attention.prefix_attention_mask", lambda mask, *others: mask)
    assert relative_error(model.get_text_features(input_ids).pooler_output, wanted) > 0.01
