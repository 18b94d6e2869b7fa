"""The model: plain CLIP bit for bit, rectangles, checkpoints, and what `forward` returns."""

import copy
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForZeroShotImageClassification, CLIPModel

from modeling_prompt_clip import PromptCLIPConfig, PromptCLIPModel, PromptCLIPOutput
from modeling_prompt_clip.prompted_towers import resize_position_grid


@pytest.fixture
def model(tiny_folder: Path) -> PromptCLIPModel:
    """A PromptCLIP of 96x32 images with fixed prompts: 2 in each text layer, 3 in two of the vision layers."""
    config = PromptCLIPConfig.from_pretrained(tiny_folder)
    config.text_config.prompt_length = 2
    config.vision_config.prompt_length, config.vision_config.prompt_layers = 3, [0, 2]
    torch.manual_seed(0)
    model = PromptCLIPModel(config)
    plain = PromptCLIPModel.from_pretrained(tiny_folder)
    model.load_state_dict(plain.state_dict(), strict=False)
    for name, buffer in model.named_buffers():
        if name.endswith("prompt.weight"):
            nn.init.normal_(buffer)
    return model.eval()


def pooled(model: nn.Module, input_ids: torch.Tensor, pixel_values: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        text = model.get_text_features(input_ids=input_ids).pooler_output
        image = model.get_image_features(pixel_values=pixel_values).pooler_output
    return torch.cat([text, image])


# without prompts it is CLIP


def test_equals_clip_bit_for_bit_on_the_square_size(
    tiny_clip_folder: Path, input_ids: torch.Tensor, square_pixel_values: torch.Tensor
):
    plain = CLIPModel.from_pretrained(tiny_clip_folder)
    for ours in (
        PromptCLIPModel.from_pretrained(tiny_clip_folder),
        PromptCLIPModel.from_clip(tiny_clip_folder, image_size=None),
        PromptCLIPModel.from_clip(tiny_clip_folder, image_size=(64, 64)),
    ):
        assert torch.equal(pooled(ours, input_ids, square_pixel_values), pooled(plain, input_ids, square_pixel_values))
        with torch.no_grad():
            got, wanted = (model(input_ids, square_pixel_values, return_loss=True) for model in (ours, plain))
        for name in ("loss", "logits_per_image", "logits_per_text", "text_embeds", "image_embeds"):
            assert torch.equal(got[name], wanted[name]), name


def test_same_state_dict_keys_as_clip(tiny_clip_folder: Path):
    ours = PromptCLIPModel.from_clip(tiny_clip_folder, image_size=None).state_dict()
    plain = CLIPModel.from_pretrained(tiny_clip_folder).state_dict()
    assert list(ours) == list(plain)
    assert all(torch.equal(ours[name], plain[name]) for name in plain)


def test_clip_checkpoint_loads_with_no_missing_and_no_unexpected_key(tiny_clip_folder: Path):
    stored = load_file(tiny_clip_folder / "model.safetensors")
    assert sum(name.endswith("position_ids") for name in stored) == 2  # as old versions of transformers saved them
    model, info = PromptCLIPModel.from_pretrained(tiny_clip_folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert model.logit_scale == stored["logit_scale"]
    assert model.config.model_type == "prompt_clip"


# position grids


def test_resized_positions_equal_a_naive_bicubic():
    """PyTorch's bicubic kernel (a = -0.75, half-pixel centres, clamped borders), written out for one number a time."""

    def kernel(x: float) -> float:
        x = abs(x)
        if x < 1:
            return 1.25 * x**3 - 2.25 * x**2 + 1
        return -0.75 * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0

    def taps(index: int, old: int, new: int) -> list[tuple[int, float]]:
        centre = (index + 0.5) * old / new - 0.5
        first = int(centre // 1) - 1
        return [(min(max(first + i, 0), old - 1), kernel(centre - first - i)) for i in range(4)]

    old, new = (4, 4), (6, 2)
    weight = torch.randn(17, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    resized = resize_position_grid(weight, old, new)
    assert resized.shape == (13, 3)
    assert torch.equal(resized[0], weight[0])
    for row in range(new[0]):
        for column in range(new[1]):
            wanted = sum(
                row_share * column_share * weight[1 + old_row * old[1] + old_column]
                for old_row, row_share in taps(row, old[0], new[0])
                for old_column, column_share in taps(column, old[1], new[1])
            )
            assert torch.allclose(resized[1 + row * new[1] + column], wanted, atol=1e-12)


def test_resize_is_identity_for_the_same_grid_and_keeps_dtype():
    weight = torch.randn(17, 8)
    assert resize_position_grid(weight, (4, 4), (4, 4)) is weight
    assert resize_position_grid(weight.bfloat16(), (4, 4), (8, 2)).dtype == torch.bfloat16


def test_from_clip_resizes_only_the_positions(tiny_clip_folder: Path):
    square = PromptCLIPModel.from_clip(tiny_clip_folder, image_size=None)
    tall = PromptCLIPModel.from_clip(tiny_clip_folder, image_size=(96, 32))
    assert tall.config.vision_config.image_size == [96, 32]
    assert tall.vision_model.embeddings.position_ids.shape == (1, 13)
    before, after = square.state_dict(), tall.state_dict()
    positions = "vision_model.embeddings.position_embedding.weight"
    assert torch.equal(after.pop(positions), resize_position_grid(before.pop(positions), (4, 4), (6, 2)))
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(value.requires_grad for value in tall.parameters())
    assert not any(value.requires_grad for value in tall.requires_grad_(False).resized((64, 64)).parameters())


def test_rectangles_equal_clips_own_interpolation(tiny_clip_folder: Path, pixel_values: torch.Tensor):
    """Plain CLIP can interpolate its positions in each call; ours has them resized once."""
    plain, ours = CLIPModel.from_pretrained(tiny_clip_folder), PromptCLIPModel.from_clip(tiny_clip_folder, (96, 32))
    with torch.no_grad():
        wanted = plain.get_image_features(pixel_values, interpolate_pos_encoding=True).pooler_output
        assert torch.equal(ours.get_image_features(pixel_values).pooler_output, wanted)


def test_resized_shares_no_tensor_and_keeps_prompts_mode_and_dtype(model: PromptCLIPModel):
    assert model.resized((96, 32)) is model
    other = model.bfloat16().train().resized((64, 64))
    assert all(module.training for module in other.modules())
    assert {tensor.dtype for tensor in other.state_dict().values()} == {torch.bfloat16}
    assert other.config.vision_config.prompt_layers == [0, 2]
    assert other.config.vision_config is other.vision_model.config
    assert other.config.vision_config.patch_grid == other.vision_model.embeddings.grid == (4, 4)
    assert model.config.vision_config.image_size == [96, 32]
    ours, theirs = model.state_dict(), other.state_dict()
    name = "text_model.encoder.layers.0.prompt.weight"
    assert torch.equal(ours[name], theirs[name])
    assert not {tensor.data_ptr() for tensor in ours.values()} & {tensor.data_ptr() for tensor in theirs.values()}


def test_other_sizes_are_refused_unless_positions_are_interpolated(model: PromptCLIPModel):
    small = torch.randn(2, 3, 64, 32)
    with pytest.raises(ValueError, match=r"pixel_values is 64x32, the model takes 96x32.*processor"):
        model.get_image_features(small)
    with torch.no_grad():
        got = model.get_image_features(small, interpolate_pos_encoding=True).pooler_output
        assert torch.equal(got, model.resized((64, 32)).get_image_features(small).pooler_output)
        assert model(pixel_values=small, interpolate_pos_encoding=True).image_embeds.shape == (2, 24)


# fixed prompts


def test_fixed_prompts_survive_saving_exactly(
    model: PromptCLIPModel, tmp_path: Path, input_ids: torch.Tensor, pixel_values: torch.Tensor
):
    model.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["model_type"] == "prompt_clip"
    assert (stored["text_config"]["prompt_length"], stored["text_config"]["prompt_layers"]) == (2, None)
    assert (stored["vision_config"]["prompt_length"], stored["vision_config"]["prompt_layers"]) == (3, [0, 2])
    wanted = pooled(model, input_ids, pixel_values)
    for loaded in (PromptCLIPModel.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert type(loaded) is PromptCLIPModel
        assert torch.equal(pooled(loaded, input_ids, pixel_values), wanted)
        prompts = {name: value for name, value in loaded.state_dict().items() if name.endswith("prompt.weight")}
        assert len(prompts) == 5
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in prompts.items())


def test_fixed_prompts_are_never_trainable_and_follow_dtype(model: PromptCLIPModel, tmp_path: Path):
    model.save_pretrained(tmp_path)
    loaded = PromptCLIPModel.from_pretrained(tmp_path, dtype=torch.bfloat16).requires_grad_(True)
    assert not any("prompt" in name for name, _ in loaded.named_parameters())
    assert {layer.prompt.weight.dtype for layer in loaded.vision_model.encoder.layers} == {torch.bfloat16}
    assert {layer.prompt.weight.dtype for layer in loaded.double().text_model.encoder.layers} == {torch.float64}


def test_new_prompts_of_a_new_model_are_drawn(tiny_folder: Path):
    config = PromptCLIPConfig.from_pretrained(tiny_folder)
    config.text_config.prompt_length = 500
    prompts = PromptCLIPModel(config).text_model.encoder.layers[1].prompt.weight
    assert prompts.shape == (500, 32)
    assert abs(prompts.std().item() - 0.02) < 0.002


def test_copies_and_pickles_are_equal(model: PromptCLIPModel, input_ids: torch.Tensor, pixel_values: torch.Tensor):
    wanted = pooled(model, input_ids, pixel_values)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(pooled(twin, input_ids, pixel_values), wanted)


# forward


def test_output_shapes_and_unit_embeddings(
    model: PromptCLIPModel, input_ids: torch.Tensor, pixel_values: torch.Tensor
):
    with torch.no_grad():
        output = model(input_ids, pixel_values[:3], return_loss=False)
    assert isinstance(output, PromptCLIPOutput)
    assert output["text_embeds"].shape == (4, 24) and output["image_embeds"].shape == (3, 24)
    assert torch.allclose(output.text_embeds.norm(dim=-1), torch.ones(4))
    assert torch.allclose(output.image_embeds.norm(dim=-1), torch.ones(3))
    cosines = nn.functional.cosine_similarity(output.text_embeds[:, None], output.image_embeds[None], dim=-1)
    assert torch.allclose(output.logits_per_text, cosines * model.logit_scale.exp(), atol=1e-5)
    assert torch.equal(output.logits_per_image, output.logits_per_text.t())
    assert torch.equal(
        output.text_model_output.pooler_output, model.get_text_features(input_ids=input_ids).pooler_output
    )


def test_loss_is_clips_symmetric_cross_entropy(
    model: PromptCLIPModel, input_ids: torch.Tensor, pixel_values: torch.Tensor
):
    output = model(input_ids, pixel_values, return_loss=True)
    pairs = torch.arange(4)
    wanted = sum(nn.functional.cross_entropy(logits, pairs) for logits in (output[1], output[2])) / 2
    assert torch.allclose(output.loss, wanted)


def test_one_modality_alone(model: PromptCLIPModel, input_ids: torch.Tensor, pixel_values: torch.Tensor):
    with torch.no_grad():
        both = model(input_ids=input_ids, pixel_values=pixel_values)
        text, image = model(input_ids=input_ids), model(pixel_values=pixel_values)
    assert list(text.keys()) == ["text_embeds", "text_model_output"]
    assert list(image.keys()) == ["image_embeds", "vision_model_output"]
    assert torch.equal(text.text_embeds, both.text_embeds)
    assert torch.equal(image.image_embeds, both.image_embeds)


@pytest.mark.parametrize("by_config", [False, True])
def test_return_dict_false_gives_clips_tuple(
    model: PromptCLIPModel, input_ids: torch.Tensor, pixel_values: torch.Tensor, by_config: bool
):
    with torch.no_grad():
        output = model(input_ids, pixel_values)
        model.config.return_dict = not by_config
        bare = model(input_ids, pixel_values, **({} if by_config else {"return_dict": False}))
    assert isinstance(bare, tuple) and len(bare) == 6
    names = ["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"]
    assert all(torch.equal(value, output[name]) for name, value in zip(names, bare, strict=False))


def test_hidden_states_and_attentions(tiny_folder: Path, model: PromptCLIPModel, tmp_path: Path):
    model.save_pretrained(tmp_path)
    eager = PromptCLIPModel.from_pretrained(tmp_path, attn_implementation="eager")
    ids, images = torch.tensor([[518, 5, 6, 519]]), torch.randn(2, 3, 96, 32)
    output = eager(ids, images, output_hidden_states=True, output_attentions=True)
    text, vision = output.text_model_output, output.vision_model_output
    assert [state.shape for state in text.hidden_states] == [(1, 4, 32)] * 4
    assert [state.shape for state in vision.hidden_states] == [(2, 13, 48)] * 4
    assert [weights.shape for weights in text.attentions] == [(1, 4, 4, 2 + 4)] * 3
    assert [weights.shape[-1] for weights in vision.attentions] == [3 + 13, 13, 3 + 13]
    assert torch.allclose(text.attentions[0].sum(-1), torch.ones(1, 4, 4))
    later = torch.ones(4, 4).triu(1).bool()
    assert text.attentions[0][..., 2:][..., later].abs().max() == 0  # causal among the tokens
    assert text.attentions[0][..., :2].min() > 0  # every token sees every prompt


def test_eager_and_sdpa_agree(
    model: PromptCLIPModel, tmp_path: Path, input_ids: torch.Tensor, pixel_values: torch.Tensor
):
    model.save_pretrained(tmp_path)
    eager = PromptCLIPModel.from_pretrained(tmp_path, attn_implementation="eager")
    sdpa = PromptCLIPModel.from_pretrained(tmp_path, attn_implementation="sdpa")
    assert eager.config._attn_implementation == "eager"
    difference = pooled(eager, input_ids, pixel_values) - pooled(sdpa, input_ids, pixel_values)
    assert difference.abs().max() < 1e-4


def test_from_clip_keeps_the_attention_implementation(tiny_clip_folder: Path):
    model = PromptCLIPModel.from_clip(tiny_clip_folder, image_size=(96, 32), attn_implementation="eager")
    assert model.text_model.config._attn_implementation == "eager"
    assert model.vision_model.encoder.layers[0].self_attn.config._attn_implementation == "eager"
    with pytest.raises(ValueError, match="flex"):  # whose block masks cannot take the prompts' columns
        PromptCLIPModel.from_clip(tiny_clip_folder, attn_implementation="flex_attention")


def test_gradient_checkpointing_gives_the_same_gradients(
    model: PromptCLIPModel, input_ids: torch.Tensor, pixel_values: torch.Tensor
):
    gradients = []
    for checkpointing in (False, True):
        twin = copy.deepcopy(model).train()
        if checkpointing:
            twin.gradient_checkpointing_enable()
        twin(input_ids, pixel_values, return_loss=True).loss.backward()
        gradients.append({name: value.grad for name, value in twin.named_parameters()})
    assert twin.is_activation_checkpointing
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


@pytest.mark.parametrize("way", ["bfloat16", "autocast"])
def test_half_precision_returns_float32_unit_embeddings(
    model: PromptCLIPModel, input_ids: torch.Tensor, pixel_values: torch.Tensor, way: str
):
    with torch.no_grad():
        wanted = model(input_ids, pixel_values)
        if way == "bfloat16":
            output = model.bfloat16()(input_ids, pixel_values.bfloat16())
        else:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                output = model(input_ids, pixel_values)
    for name in ("text_embeds", "image_embeds"):
        assert output[name].dtype == torch.float32
        assert torch.allclose(output[name].norm(dim=-1), torch.ones(4), atol=1e-6)
        assert nn.functional.cosine_similarity(output[name], wanted[name]).min() > 0.99


@pytest.mark.parametrize("prompted", [False, True])
def test_padding_changes_no_embedding(
    model: PromptCLIPModel, tiny_folder: Path, input_ids: torch.Tensor, prompted: bool
):
    model = model if prompted else PromptCLIPModel.from_pretrained(tiny_folder)
    wide = nn.functional.pad(input_ids, (0, 77 - input_ids.shape[1]), value=input_ids.max().item())
    with torch.no_grad():
        narrow = model(input_ids=input_ids).text_embeds
        assert (model(input_ids=wide).text_embeds - narrow).abs().max() < 1e-6
        end = (wide == wide.max()).int().argmax(dim=1, keepdim=True)
        mask = (torch.arange(77) <= end).long()
        assert (model(input_ids=wide, attention_mask=mask).text_embeds - narrow).abs().max() < 1e-6


# auto classes


def test_auto_classes_find_the_model_by_its_folder(tiny_folder: Path):
    assert type(AutoConfig.from_pretrained(tiny_folder)) is PromptCLIPConfig
    assert type(AutoModel.from_pretrained(tiny_folder)) is PromptCLIPModel
    assert type(AutoModelForZeroShotImageClassification.from_pretrained(tiny_folder)) is PromptCLIPModel


def test_base_model_name_is_recorded_as_text(tiny_clip_folder: Path):
    for size in (None, (96, 32)):
        assert PromptCLIPModel.from_clip(tiny_clip_folder, image_size=size).name_or_path == str(tiny_clip_folder)
