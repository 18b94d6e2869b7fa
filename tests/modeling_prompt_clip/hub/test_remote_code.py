import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.hub import REMOTE_FILES, add_remote_code
from modeling_prompt_clip.loading import load_model

CAPTIONS = ["a man in a red jacket", "a woman with a bag"]

# a reader's program: this repository is not on its path, and our packages cannot be imported
READER = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"modeling_prompt_clip", "trainers", "dataset_scripts"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoModel, AutoProcessor, pipeline

folder, picture, output, *captions = sys.argv[1:]
model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
image = Image.open(picture)
with torch.no_grad():
    found = model(**processor(images=[image], text=captions))
assert "peft" not in [name for name in sys.modules if name.startswith("transformers_modules")]
classify = pipeline("zero-shot-image-classification", model=folder, trust_remote_code=True)
answers = classify(image, candidate_labels=captions, hypothesis_template="{}")
scores = torch.tensor([answer["score"] for answer in sorted(answers, key=lambda each: captions.index(each["label"]))])
save_file({"image": found.image_embeds, "text": found.text_embeds, "scores": scores}, output)
"""


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.effect_noise((40, 120), 80).convert("RGB").save(path)
    return path


@pytest.fixture
def published(tiny_adapter_folder, tmp_path):
    """A model with merged prompts, and its processor, with the code beside them."""
    folder = tmp_path / "published"
    for part in load_model(tiny_adapter_folder):
        part.save_pretrained(folder)
    add_remote_code(folder)
    return folder


def test_a_reader_without_this_package_gets_the_same_embeddings(published, picture, tmp_path):
    output = tmp_path / "reader.safetensors"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(tmp_path / "modules"), "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", READER, str(published), str(picture), str(output), *CAPTIONS]
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    model, processor = load_model(published)
    with torch.no_grad():
        expected = model(**processor(images=[Image.open(picture)], text=CAPTIONS))
    found = load_file(output)
    torch.testing.assert_close(found["image"], expected.image_embeds, atol=0, rtol=0)
    torch.testing.assert_close(found["text"], expected.text_embeds, atol=0, rtol=0)
    torch.testing.assert_close(found["scores"], expected.logits_per_image[0].softmax(0), atol=1e-3, rtol=0)


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
