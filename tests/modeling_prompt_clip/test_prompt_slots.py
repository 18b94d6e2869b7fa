"""The slots of the model, their attention mask, and the registration of the method with PEFT."""

import pickle
import pkgutil

import pytest
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.utils import PeftType

from modeling_prompt_clip import ClipPromptConfig, ClipPromptModel, DeepPromptConfig, DeepPromptModel
from modeling_prompt_clip.prompt_tuning import register_clip_prompt_method
from modeling_prompt_clip.prompted_attention import prefix_attention_mask
from modeling_prompt_clip.prompted_layers import PromptSlot


def test_registration_is_idempotent():
    members = list(PeftType.__members__)
    register_clip_prompt_method()
    assert list(PeftType.__members__) == members and members.count("CLIP_PROMPT") == 1
    assert PeftType("CLIP_PROMPT") is PeftType.CLIP_PROMPT and PeftType.CLIP_PROMPT == "CLIP_PROMPT"
    assert PEFT_TYPE_TO_CONFIG_MAPPING[PeftType.CLIP_PROMPT] is ClipPromptConfig
    assert PEFT_TYPE_TO_TUNER_MAPPING[PeftType.CLIP_PROMPT] is ClipPromptModel
    assert PeftType.LORA in PeftType  # the enum still works


def test_the_earlier_names_are_the_same_objects():
    assert ClipPromptConfig is DeepPromptConfig and ClipPromptModel is DeepPromptModel
    assert pkgutil.resolve_name("modeling_prompt_clip.configuration_clip_prompt:ClipPromptConfig") is DeepPromptConfig
    assert pkgutil.resolve_name("modeling_prompt_clip.prompt_tuning:ClipPromptModel") is DeepPromptModel
    assert pickle.loads(pickle.dumps(DeepPromptConfig(init_std=0.5))).init_std == 0.5


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_mask_lets_every_token_see_every_prompt(implementation: str):
    seen = torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()[:, None, None, :] & torch.ones(3, 3).tril().bool()
    mask = seen if implementation == "sdpa" else torch.zeros(2, 1, 3, 3).masked_fill(~seen, -1e30)
    extended = prefix_attention_mask(mask, 2, 3, True, implementation, mask.device)
    assert extended.dtype == mask.dtype and extended.shape == (2, 1, 3, 5)
    assert torch.equal(extended[..., 2:], mask)
    assert extended[..., :2].all() if implementation == "sdpa" else (extended[..., :2] == 0).all()


def test_mask_is_explicit_wherever_it_is_causal():
    device = torch.device("cpu")
    assert prefix_attention_mask(None, 2, 3, False, "sdpa", device) is None
    causal = prefix_attention_mask(None, 2, 3, True, "sdpa", device)
    assert torch.equal(causal[0, 0], torch.ones(3, 5).tril(2).bool())
    assert prefix_attention_mask(None, 2, 3, True, "flash_attention_2", device) is None  # aligned to the bottom right
    with pytest.raises(ValueError, match="attention_mask was given with prompts under flash attention.*leave"):
        prefix_attention_mask(torch.ones(2, 3), 2, 3, True, "flash_attention_2", device)


def test_empty_slots_add_no_tensor():
    slot = PromptSlot(8)
    assert not slot.state_dict() and not list(slot.parameters()) and slot() is None
    slot.set_prompts(torch.ones(2, 8))
    assert list(slot.state_dict()) == ["weight"] and torch.equal(slot(), torch.ones(2, 8))
    slot.set_prompts(slot.weight[:0])
    assert not slot.state_dict()
