"""One model with merged prompts, loaded in every way that a reader may try: always the embeddings of its adapter.

In this process the package is imported. A second one, started once, first has it installed but not imported, then not
at all, then imports it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors import safe_open
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    AutoTokenizer,
    CLIPImageProcessorPil,
    CLIPTokenizer,
    pipeline,
)

from modeling_prompt_clip import PromptCLIPConfig, PromptCLIPModel, PromptCLIPProcessor

PEOPLE = ["a man in red", "red " * 99]
LABELS = ["a man in red", "a woman", "red"]
READER = """
import sys
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoProcessor, pipeline

plain, published, work = sys.argv[1:4]
people, labels = sys.argv[4:6], sys.argv[6:]
pictures = [Image.open(path) for path in sorted(Path(work).glob("*.png"))]
found, said = {}, {}


def refused(name, load, *arguments, **settings):
    try:
        load(*arguments, **settings)
    except (ImportError, ValueError) as error:
        said[name] = f"{type(error).__name__}: {error}"


def embed(name, model):
    with torch.no_grad():
        output = model.eval()(**processor(images=pictures, text=people))
    found[name] = torch.cat([output.text_embeds, output.image_embeds])


refused("installed, not imported", AutoModel.from_pretrained, plain)
refused("installed, not imported, with code", AutoModel.from_pretrained, published)
said["processor, not imported"] = type(AutoProcessor.from_pretrained(plain)).__name__
assert "modeling_prompt_clip" not in sys.modules


class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"modeling_prompt_clip", "trainers", "dataset_scripts"}:
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, NotInstalled())
code = {"trust_remote_code": True}
processor = AutoProcessor.from_pretrained(published, **code)
model = AutoModel.from_pretrained(published, **code)
said["module, not installed"] = type(model).__module__
embed("as saved", model)
embed("float16", AutoModel.from_pretrained(published, dtype=torch.float16, **code))
embed("bfloat16", AutoModel.from_pretrained(published, dtype="bfloat16", **code))
embed("device_map", AutoModel.from_pretrained(published, device_map="auto", **code))
embed("disk", AutoModel.from_pretrained(published, device_map={"": "disk"}, offload_folder=work + "/disk", **code))
embed("eager", AutoModel.from_pretrained(published, attn_implementation="eager", **code))
refused("flash", AutoModel.from_pretrained, published, attn_implementation="flash_attention_2", **code)
sentences = SentenceTransformer(published, device="cpu", **code)
encoded = [sentences.encode(each, normalize_embeddings=True, convert_to_tensor=True) for each in (people, pictures)]
found["sentence-transformers"] = torch.cat(encoded)
classify = pipeline(
    "zero-shot-image-classification", model=published, dtype=torch.bfloat16, device_map="auto", **code
)
answers = classify(pictures[0], candidate_labels=labels, hypothesis_template="{}")
scores = {answer["label"]: answer["score"] for answer in answers}
found["pipeline"] = torch.tensor([scores[label] for label in labels])
sys.meta_path.pop(0)
import modeling_prompt_clip

imported = AutoModel.from_pretrained(published)
said["module, imported"] = type(imported).__module__
embed("imported", imported)
save_file(found, work + "/found.safetensors", metadata=said)
"""


@pytest.fixture(scope="module")
def reader(merged_folder, published_folder, pictures, tmp_path_factory) -> tuple[dict[str, torch.Tensor], dict]:
    """What a fresh process found, by name, and what it was told."""
    work = tmp_path_factory.mktemp("reader")
    for index, picture in enumerate(pictures):
        picture.save(work / f"{index}.png")
    environment = os.environ | {"HF_MODULES_CACHE": str(work / "modules"), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])  # the package is installed, so to say
    arguments = [sys.executable, "-c", READER, merged_folder, published_folder, work, *PEOPLE, *LABELS]
    done = subprocess.run(
        arguments, cwd=work, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with safe_open(work / "found.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def scores_of(pictures, folder) -> list[float]:
    """The pipeline's score of each of LABELS for the first picture."""
    classify = pipeline("zero-shot-image-classification", model=str(folder))
    answers = classify(pictures[0], candidate_labels=LABELS, hypothesis_template="{}")
    scores = {answer["label"]: answer["score"] for answer in answers}
    return [scores[label] for label in LABELS]


@pytest.mark.parametrize(
    ("way", "tolerance"),
    [
        ("as saved", 0),
        ("device_map", 0),
        ("disk", 0),
        ("imported", 0),
        ("eager", 1e-5),
        ("sentence-transformers", 1e-6),
        ("float16", 5e-3),
        ("bfloat16", 3e-2),
    ],
)
def test_without_the_package(reader, wanted, way, tolerance):
    embeddings = reader[0][way]
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings, wanted, atol=tolerance, rtol=0)


def test_pipeline_without_the_package_in_bfloat16(reader, merged_folder, pictures):
    assert reader[0]["pipeline"].tolist() == pytest.approx(scores_of(pictures, merged_folder), abs=0.05)


def test_installed_is_not_enough_it_must_be_imported(reader):
    said = reader[1]
    assert "does not recognize this architecture" in said["installed, not imported"]
    assert "Please pass the argument `trust_remote_code=True`" in said["installed, not imported, with code"]
    assert said["processor, not imported"] == "CLIPTokenizer"  # without a word: docs/loading.md warns
    assert said["module, not installed"].startswith("transformers_modules.")
    assert said["module, imported"] == "modeling_prompt_clip.modeling_prompt_clip"


def test_flash_attention_is_refused_where_it_cannot_run(reader):
    assert reader[1]["flash"].startswith("ImportError: FlashAttention2 has been toggled on, but it cannot be used")


# the package imported: no question, and nothing of the Hub's is run


@pytest.fixture(params=["merged_folder", "published_folder"])
def folder(request) -> Path:
    """The saved model, without and with code beside it."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def no_remote_code(monkeypatch):
    def refuse(*arguments, **settings):
        raise AssertionError("code beside the weights was about to be run, or a question asked")

    monkeypatch.setattr(transformers.dynamic_module_utils, "get_class_in_module", refuse)
    monkeypatch.setattr("builtins.input", refuse)


@pytest.mark.parametrize("trust", [None, False, True])
def test_auto_classes_are_ours(folder, trust, wanted, embed_people, no_remote_code):
    settings = {} if trust is None else {"trust_remote_code": trust}
    assert type(AutoConfig.from_pretrained(folder, **settings)) is PromptCLIPConfig
    processor = AutoProcessor.from_pretrained(folder, **settings)
    assert type(processor) is PromptCLIPProcessor
    for auto in (AutoModel, AutoModelForZeroShotImageClassification, PromptCLIPModel):
        model = auto.from_pretrained(folder, **settings)
        assert type(model) is PromptCLIPModel
        assert torch.equal(embed_people(model, processor), wanted)


def test_tokenizer_and_image_processor_alone(folder, pictures, no_remote_code):
    processor = PromptCLIPProcessor.from_pretrained(folder)
    tokenizer, images = AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
    assert isinstance(tokenizer, CLIPTokenizer) and isinstance(images, CLIPImageProcessorPil)
    input_ids = tokenizer(PEOPLE, padding=True, truncation=True, return_tensors="pt")["input_ids"]
    assert torch.equal(input_ids, processor(text=PEOPLE)["input_ids"])
    pixel_values = images(pictures, return_tensors="pt")["pixel_values"]
    assert torch.equal(pixel_values, processor(images=pictures)["pixel_values"])


# dtype, attention, shards


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 5e-3), (torch.bfloat16, 3e-2)])
def test_half_precision_when_loaded_or_later(merged_folder, wanted, embed_people, dtype, tolerance):
    processor = PromptCLIPProcessor.from_pretrained(merged_folder)
    loaded = AutoModel.from_pretrained(merged_folder, dtype=dtype)
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {dtype}
    cast = AutoModel.from_pretrained(merged_folder).to(dtype)
    embeddings = embed_people(loaded, processor)
    assert embeddings.dtype == torch.float32 and torch.equal(embeddings, embed_people(cast, processor))
    torch.testing.assert_close(embeddings, wanted, atol=tolerance, rtol=0)


def test_shards_leave_nothing_uninitialised(merged_folder, tmp_path, wanted, embed_people):
    whole = AutoModel.from_pretrained(merged_folder)
    whole.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 10
    loaded = AutoModel.from_pretrained(tmp_path)
    expected = dict([*whole.named_parameters(), *whole.named_buffers()])
    found = dict([*loaded.named_parameters(), *loaded.named_buffers()])
    assert sum(name.endswith(("position_ids", "prompt.weight")) for name in found) == 2 + 6
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    assert torch.equal(embed_people(loaded, PromptCLIPProcessor.from_pretrained(merged_folder)), wanted)


@pytest.mark.slow
def test_compiled(merged_folder, wanted, embed_people):
    model = torch.compile(AutoModel.from_pretrained(merged_folder), backend="aot_eager")
    embeddings = embed_people(model, PromptCLIPProcessor.from_pretrained(merged_folder))
    torch.testing.assert_close(embeddings, wanted, atol=1e-6, rtol=0)


# other libraries' doors


@pytest.fixture(scope="module")
def sentences(merged_folder) -> SentenceTransformer:
    return SentenceTransformer(str(merged_folder), device="cpu")


def test_sentence_transformer_encodes_captions_and_pictures(sentences, pictures, wanted):
    text, image = sentences.encode(PEOPLE, convert_to_tensor=True), sentences.encode(pictures, convert_to_tensor=True)
    assert sentences.max_seq_length == 77 and text.shape == (2, 24) and image.shape == (3, 24)
    assert (text.norm(dim=-1) > 1.5).all()  # not of unit length
    torch.testing.assert_close(nn.functional.normalize(torch.cat([text, image])), wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(sentences.similarity(text, image), wanted[:2] @ wanted[2:].T, atol=1e-6, rtol=0)


def test_sentence_transformer_saved_and_loaded_again(sentences, tmp_path, wanted):
    sentences.save_pretrained(str(tmp_path), create_model_card=False)
    again = SentenceTransformer(str(tmp_path), device="cpu")
    text = again.encode(PEOPLE, normalize_embeddings=True, convert_to_tensor=True)
    torch.testing.assert_close(text, wanted[:2], atol=1e-6, rtol=0)


def test_feature_pipelines_give_unit_embeddings(merged_folder, pictures, wanted):
    images = pipeline("image-feature-extraction", model=str(merged_folder))(pictures)
    torch.testing.assert_close(torch.tensor(images)[:, 0], wanted[2:], atol=1e-6, rtol=0)
    texts = pipeline("feature-extraction", model=str(merged_folder))(PEOPLE, truncation=True)
    torch.testing.assert_close(torch.tensor(texts)[:, 0], wanted[:2], atol=1e-6, rtol=0)


def test_zero_shot_pipeline(merged_folder, pictures):
    model, processor = AutoModel.from_pretrained(merged_folder), AutoProcessor.from_pretrained(merged_folder)
    with torch.no_grad():
        logits = model(**processor(images=pictures[0], text=LABELS)).logits_per_image[0]
    assert scores_of(pictures, merged_folder) == pytest.approx(logits.softmax(0).tolist(), abs=1e-5)
    classify = pipeline("zero-shot-image-classification", model=str(merged_folder))
    with pytest.raises(ValueError, match="max_position_embeddings"):  # the pipeline cannot be told to truncate
        classify(pictures[0], candidate_labels=PEOPLE, hypothesis_template="{}")
