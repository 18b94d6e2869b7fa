import random

import numpy as np
import pytest
import torch
from peft import get_peft_model
from safetensors.torch import load_file, save_file

from modeling_prompt_clip import PromptCLIPModel
from prompting import strong
from trainers.stages.checkpoints import load_adapter_weights, random_state, restore_random_state, save_adapter
from trainers.stages.starting_model import lora_model


@pytest.mark.parametrize(
    "adapted",
    [
        lambda model: get_peft_model(model, strong()),
        lambda model: get_peft_model(model, strong(3, 3, coupled_prompts=True)),
        lambda model: lora_model(model, rank=2, alpha=4.0),
    ],
    ids=["prompts", "coupled prompts", "low-rank updates"],
)
def test_adapters_come_back_and_others_are_refused(adapted, tiny_folder, tmp_path):
    model, other = (adapted(PromptCLIPModel.from_pretrained(tiny_folder)) for _ in range(2))
    save_adapter(model, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert any(not torch.equal(*pair) for pair in zip(model.parameters(), other.parameters(), strict=True))
    load_adapter_weights(other, tmp_path)
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), other.parameters(), strict=True))
    weights = load_file(tmp_path / "adapter_model.safetensors")
    for wrong in (dict(list(weights.items())[1:]), weights | {"base_model.model.odd": torch.zeros(1)}):
        save_file(wrong, tmp_path / "adapter_model.safetensors")
        with pytest.raises(ValueError, match=r"adapter_model.safetensors of .* (lacks|holds, .* own,) 1 tensors"):
            load_adapter_weights(other, tmp_path)


def draws() -> tuple[float, float, float, float]:
    return random.random(), random.gauss(0, 1), float(np.random.standard_normal()), float(torch.rand(()))


def test_the_same_numbers_come_again_after_a_file(tmp_path):
    draws()  # an odd number of normal draws: the generators keep the second of each pair
    torch.save(random_state(), tmp_path / "state.pt")
    first = [draws() for _ in range(3)]
    restore_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [draws() for _ in range(3)] == first
