"""Every line of code in docs/loading.md runs, with tiny folders for its names."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

PAGE = Path(__file__).parents[2] / "docs" / "loading.md"
IMPORTS = """
from peft import PeftModel
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, pipeline

from modeling_prompt_clip import PromptCLIPModel
from modeling_prompt_clip.loading import load_model
"""


@pytest.fixture
def tiny(merged_folder, tiny_adapter_folder, tiny_clip_folder, pictures, tmp_path, monkeypatch):
    """The page with the names of this machine's tiny folders, in a folder that has its picture."""
    monkeypatch.chdir(tmp_path)
    pictures[0].save("person.jpg")
    names = {
        "my-lab/prompt-clip-cuhk": merged_folder,
        "my-lab/prompt-clip-adapter": tiny_adapter_folder,
        "openai/clip-vit-base-patch16": tiny_clip_folder,
        "384, 128": "96, 32",
    }
    text = PAGE.read_text()
    for name, own in names.items():
        assert name in text
        text = text.replace(name, str(own))
    return text


def test_every_row_of_the_table_gives_the_same_embeddings(tiny, wanted, embed_people):
    rows = re.findall(r"^\| .* \| `(.*)` \| .* \|$", tiny, flags=re.MULTILINE)
    assert len(rows) == 6
    found = {}
    exec(IMPORTS, found)
    for row in rows:
        exec(row, found)
        if row.startswith("model, processor"):
            processor = found["processor"]
        if "SentenceTransformer" not in row:
            model = found["classify"].model if row.startswith("classify") else found["model"]
            assert torch.equal(embed_people(model, processor), wanted), row


def test_the_examples_run_from_top_to_bottom(tiny, wanted, embed_people):
    examples = re.findall(r"```python\n(.*?)```", tiny, re.DOTALL)
    assert len(examples) == 6
    found = {}
    exec(examples[0], found)
    cosines = found["output"].image_embeds @ found["output"].text_embeds.T
    assert cosines.shape == (1, 1)
    for example in examples[1:]:
        exec(example, found)
    assert torch.equal(embed_people(found["model"], found["processor"]), wanted)  # the adapter's, merged
    pairs = found["encoder"].similarity(found["texts"], found["images"])
    torch.testing.assert_close(pairs.T, cosines, atol=1e-6, rtol=0)
    image = torch.tensor(found["embed"]("person.jpg")[0])
    shown = found["processor"](images=Image.open("person.jpg"))["pixel_values"]
    with torch.no_grad():
        torch.testing.assert_close(image, found["model"](pixel_values=shown).image_embeds[0], atol=1e-5, rtol=0)
