import os
import random
import zipfile

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from peft import get_peft_model
from safetensors.torch import load_file, save_file

from modeling_prompt_clip import PromptCLIPModel
from prompting import strong
from trainers.run_folder.checkpoint_store import Checkpoint
from trainers.stages.checkpoints import (
    StageCheckpoints,
    check_restored,
    load_adapter_weights,
    load_model_weights,
    random_state,
    restore_random_state,
    save_adapter,
    settings_of,
)
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


class Foreign:
    """Runs a command where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", {}, [1], {"random": []}, {"random": [{}], "loop": {}}, {"loop": Foreign(), "random": []}],
    ids=["empty", "text", "nothing", "list", "no process", "no numbers", "foreign"],
)
def test_a_state_that_cannot_be_read_is_named(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "state.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    checkpoints = StageCheckpoints(Accelerator(cpu=True), None, "two", None, None, None, {})
    with pytest.raises(OSError, match=f"{path} is no state to resume this run from .*; remove {tmp_path}, and"):
        with checkpoints.restored_state(Checkpoint(tmp_path, "two", 4, {})):
            pass
    assert not (tmp_path / "unpickled").exists()


def test_a_state_that_grows_when_read_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "state.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("state/data/0", bytes(80 << 20))
    checkpoints = StageCheckpoints(Accelerator(cpu=True), None, "two", None, None, None, {})
    with pytest.raises(OSError, match="state.pt is a compressed archive"):
        with checkpoints.restored_state(Checkpoint(tmp_path, "two", 4, {})):
            pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state["param_groups"][0].update(lr="fast"), "state.optimizer.0.lr is no number"),
        (lambda state: state["param_groups"][0].update(betas=(0.9,)), "state.optimizer.0.betas is not what"),
        (
            lambda state: state["state"][0].update(exp_avg=torch.zeros(7)),
            "exp_avg of the optimizer is not of the shape",
        ),
        (lambda state: state["state"][0].update(exp_avg_sq="x"), "exp_avg_sq of the optimizer is not of the shape"),
    ],
)
def test_states_of_another_kind_are_refused(change, message):
    layer = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(layer.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    own, state = settings_of(optimizer, schedule), optimizer.state_dict()
    check_restored(optimizer, schedule, own)
    change(state)
    optimizer.load_state_dict(state)
    with pytest.raises(ValueError, match=message):
        check_restored(optimizer, schedule, own)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    layer = torch.nn.Linear(2, 3)
    save_file({"weight": torch.full((3, 2), torch.nan), "bias": torch.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=f"{tmp_path} holds NaN or infinity in tensor weight"):
        load_model_weights(layer, tmp_path)
