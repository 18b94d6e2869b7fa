import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers.dynamic_module_utils import get_relative_import_files

from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.hub import add_remote_code
from modeling_prompt_clip.hub.remote_code import REMOTE_FILES
from modeling_prompt_clip.loading import load_model


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


def test_all_that_the_code_imports_travels():
    wanted = {"modeling_prompt_clip.py", "processing_prompt_clip.py"}
    for cls in (PromptCLIPModel, PromptCLIPProcessor):
        wanted |= {Path(name).name for name in get_relative_import_files(sys.modules[cls.__module__].__file__)}
    assert wanted == set(REMOTE_FILES)


@pytest.mark.parametrize("installed", [True, False])
def test_a_clone_as_working_folder_does_not_hide_the_package(published, installed, tmp_path):
    """Its modeling_prompt_clip.py gave 'attempted relative import with no known parent package'."""
    root = str(Path(__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": root if installed else "", "PYTHONDONTWRITEBYTECODE": "1"}
    leave_out = (
        f"import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in str(f)]; root = {root!r}; "
    )
    leave_out += f"sys.path = [p for p in sys.path if p != {root!r}]; "
    code = ("" if installed else leave_out) + (
        "from modeling_prompt_clip import PromptCLIPModel; import modeling_prompt_clip; "
        "m = PromptCLIPModel.from_pretrained('.'); print(modeling_prompt_clip.__path__[0])"
    )
    code += "; import trainers.two_stage" if installed else ""
    answer = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code],
        cwd=published, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split()[-1] == (f"{root}/modeling_prompt_clip" if installed else str(published.resolve()))
