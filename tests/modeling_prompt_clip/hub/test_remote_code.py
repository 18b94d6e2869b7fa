import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.hub import add_remote_code
from modeling_prompt_clip.loading import load_model
from published import REMOTE_FILES


@pytest.fixture
def published(tiny_adapter_folder, tmp_path):
    """A model with merged prompts, and its processor, with the code beside them."""
    folder = tmp_path / "published"
    for part in load_model(tiny_adapter_folder):
        part.save_pretrained(folder)
    add_remote_code(folder)
    return folder


def test_where_the_package_is_installed_its_own_code_is_used(published):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(published)
    assert type(model) is PromptCLIPModel


def test_weights_and_settings_stay_as_they_are(published, tiny_adapter_folder, tmp_path):
    plain = tmp_path / "plain"
    for part in load_model(tiny_adapter_folder):
        part.save_pretrained(plain)
    names = {path.name for path in published.iterdir()}
    assert names == {path.name for path in plain.iterdir()} | set(REMOTE_FILES)
    assert (published / "model.safetensors").read_bytes() == (plain / "model.safetensors").read_bytes()
    for name in ("config.json", "processor_config.json"):
        settings = json.loads((published / name).read_text())
        assert settings.pop("auto_map")
        assert settings == json.loads((plain / name).read_text())
    before = {path.name: path.read_bytes() for path in published.iterdir()}
    add_remote_code(published)
    assert {path.name: path.read_bytes() for path in published.iterdir()} == before


def test_the_code_needs_neither_peft_nor_this_package(published):
    for name in REMOTE_FILES:
        text = (published / name).read_text()
        assert "peft import" not in text and "import peft" not in text and "from modeling_prompt_clip." not in text


def test_half_a_model_is_refused(published):
    (published / "processor_config.json").unlink()
    shutil.rmtree(published / "__pycache__", ignore_errors=True)
    with pytest.raises(OSError, match="has no processor_config.json; save both"):
        add_remote_code(published)
    with pytest.raises(OSError, match="has no config.json"):
        save_file({"x": torch.ones(1)}, published / "only.safetensors")
        (published / "config.json").unlink()
        add_remote_code(published)
