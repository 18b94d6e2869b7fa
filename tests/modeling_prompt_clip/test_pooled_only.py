"""`pooled_only`: the last layers compute the pooled tokens alone, and nothing else changes."""

import pytest
import torch
from peft import PeftModel, get_peft_model

from modeling_prompt_clip import PromptCLIPModel, prompted_attention
from modeling_prompt_clip.prompted_attention import plain_attention, pooled_attention_mask
from modeling_prompt_clip.prompted_towers import end_positions
from prompting import strong

LAST = 2  # of three layers


def model_with_prompts(folder, layers="none", attention="sdpa"):
    """In float64, every tensor trainable; prompts in all layers, in some, in the last alone, or fixed ones."""
    torch.manual_seed(7)
    model = PromptCLIPModel.from_pretrained(folder, attn_implementation=attention)
    if layers != "none":
        model = get_peft_model(model, strong(prompt_layers=None if layers == "fixed" else layers))
    if layers == "fixed":
        model = model.merge_and_unload()
    return model.double().eval().requires_grad_(True)


def embeds_and_gradients(model, **inputs):
    output = model(**inputs)
    parameters = {name: value for name, value in model.named_parameters() if "logit_scale" not in name}
    weights = torch.linspace(-1, 1, output.text_embeds.numel(), dtype=torch.float64).view_as(output.text_embeds)
    loss = ((output.text_embeds + 2 * output.image_embeds.flip(0)) * weights).sum()
    return output, dict(zip(parameters, torch.autograd.grad(loss, parameters.values()), strict=True))


@pytest.fixture
def inputs(input_ids, pixel_values):
    return {"input_ids": input_ids, "pixel_values": pixel_values.double()}


@pytest.mark.parametrize("eos", ["openai", "true"])
@pytest.mark.parametrize("padded", [False, True], ids=["no_mask", "padding_mask"])
@pytest.mark.parametrize("layers", ["none", None, [0], [LAST], "fixed"], ids=str)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_embeddings_and_all_gradients_are_the_same(tiny_folder, inputs, attention, layers, padded, eos):
    model = model_with_prompts(tiny_folder, layers, attention)
    clip = model.get_base_model() if isinstance(model, PeftModel) else model
    clip.text_model.eos_token_id = 2 if eos == "openai" else inputs["input_ids"].max().item()
    if padded:
        end = (inputs["input_ids"] == inputs["input_ids"].max()).int().argmax(dim=1, keepdim=True)
        inputs["attention_mask"] = (torch.arange(inputs["input_ids"].shape[1]) <= end).long()
    whole, expected = embeds_and_gradients(model, **inputs)
    pooled, found = embeds_and_gradients(model, pooled_only=True, **inputs)
    tolerance = 1e-12 if attention == "sdpa" else 1e-6  # eager's softmax is in float32
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name in ("text_embeds", "image_embeds", "logits_per_text"):
        torch.testing.assert_close(pooled[name], whole[name], rtol=0, atol=tolerance)
    for name, gradient in expected.items():
        assert (found[name] - gradient).abs().max() / largest < tolerance, name


def test_the_last_hidden_state_is_that_of_the_pooled_token(tiny_folder, inputs):
    model = model_with_prompts(tiny_folder, None)
    whole, pooled = model(**inputs), model(pooled_only=True, **inputs)
    ends = inputs["input_ids"].argmax(dim=1)
    found = [pooled.text_model_output.last_hidden_state, pooled.vision_model_output.last_hidden_state]
    expected = [
        whole.text_model_output.last_hidden_state[torch.arange(4), ends],
        whole.vision_model_output.last_hidden_state[:, 0],
    ]
    for one, other in zip(found, expected, strict=True):
        assert one.shape == (4, 1, other.shape[1])
        torch.testing.assert_close(one[:, 0], other, rtol=0, atol=1e-12)


def test_the_last_layers_compute_one_token(tiny_folder, inputs):
    model = model_with_prompts(tiny_folder)
    tokens = {}
    for tower in ("text", "vision"):
        for number, layer in enumerate(getattr(model, f"{tower}_model").encoder.layers):
            key = (tower, number)
            layer.mlp.register_forward_pre_hook(lambda _, args, key=key: tokens.update({key: args[0].shape[1]}))
    model(pooled_only=True, **inputs)
    assert tokens[("text", LAST)] == tokens[("vision", LAST)] == 1
    assert all(count > 1 for (_, number), count in tokens.items() if number != LAST)


@pytest.mark.parametrize("name", ["output_hidden_states", "output_attentions"])
@pytest.mark.parametrize("modality", ["input_ids", "pixel_values"])
def test_outputs_of_every_token_are_refused(tiny_folder, inputs, name, modality):
    model = model_with_prompts(tiny_folder)
    with pytest.raises(ValueError, match=f"{name}=True asks for every token and pooled_only=True for one"):
        model(**{modality: inputs[modality], name: True}, pooled_only=True)


def test_flash_attention_computes_the_whole_layer_of_a_causal_tower(tiny_folder, inputs, monkeypatch):
    """Its causal mask would let a single query see all that follows."""
    expected = model_with_prompts(tiny_folder, "fixed")(**inputs)
    model = model_with_prompts(tiny_folder, "fixed")
    for config in (model.text_model.config, model.vision_model.config):
        config._attn_implementation = "flash_attention_2"

    def flash(module, queries, keys, values, mask, is_causal=False, **kwargs):
        """As flash attention: no mask but a causal one, aligned to the bottom right."""
        assert mask is None
        shape = (queries.shape[2], keys.shape[2])
        visible = torch.ones(shape, dtype=torch.bool).tril(shape[1] - shape[0]) if is_causal else None
        return plain_attention(module, queries, keys, values, visible, **kwargs)

    monkeypatch.setattr(prompted_attention, "attention_function", lambda *_: flash)
    monkeypatch.setattr("modeling_prompt_clip.prompted_towers.create_causal_mask", lambda **_: None)
    found = model(pooled_only=True, **inputs)
    torch.testing.assert_close(found.text_embeds, expected.text_embeds, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.image_embeds, expected.image_embeds, rtol=0, atol=1e-12)


def test_a_mask_is_cut_to_the_rows_of_the_positions():
    positions, tokens = torch.tensor([2, 0]), 4
    assert pooled_attention_mask(None, positions, tokens, is_causal=False) is None
    causal = pooled_attention_mask(None, positions, tokens, is_causal=True)
    assert causal.shape == (2, 1, 1, tokens)
    assert causal.flatten(1).int().tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    one = torch.ones(1, 1, tokens, tokens, dtype=torch.bool).tril()
    assert torch.equal(pooled_attention_mask(one, positions, tokens, is_causal=True), causal)
    each = torch.arange(32.0).view(2, 1, 4, 4)
    rows = pooled_attention_mask(each, positions, tokens, is_causal=True)
    assert rows.flatten(1).tolist() == [[8, 9, 10, 11], [16, 17, 18, 19]]


def test_a_caption_ends_where_the_text_tower_finds_its_end():
    input_ids = torch.tensor([[98, 5, 99, 99], [98, 5, 6, 99], [98, 99, 1, 1]])
    assert end_positions(input_ids, 99).tolist() == end_positions(input_ids, 2).tolist() == [2, 3, 1]
    assert end_positions(input_ids, 5).tolist() == [1, 1, 1]  # the last has no 5: its largest id, not the first token
