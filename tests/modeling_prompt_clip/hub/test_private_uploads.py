"""Every way of ours to the Hub makes private repositories, fills no public one by accident, and keeps a card."""

import json

import pytest
import torch
from huggingface_hub import ModelCard
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import pipeline

from elsewhere import run_elsewhere
from hub_state import StoredFile
from modeling_prompt_clip import ClipPromptConfig, PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.hub.remote_code import REMOTE_FILES
from modeling_prompt_clip.loading import load_model

REPO = "alice/tiny"


def adapter(model):
    config = ClipPromptConfig(text_prompt_length=2, vision_prompt_length=2)
    return get_peft_model(PromptCLIPModel(model.config), config)


# way -> what it uploads, given a model, its processor and a folder to save into
WAYS = {
    "model": lambda model, processor, folder, **options: model.push_to_hub(REPO, processor=processor, **options),
    "model saved": lambda model, processor, folder, **options: model.save_pretrained(
        folder, push_to_hub=True, repo_id=REPO, **options
    ),
    "model saved, by position": lambda model, processor, folder, **options: model.save_pretrained(
        folder, True, None, True, repo_id=REPO, **options
    ),
    "tower": lambda model, processor, folder, **options: model.text_model.push_to_hub(REPO, **options),
    "tower saved": lambda model, processor, folder, **options: model.vision_model.save_pretrained(
        folder, push_to_hub=True, repo_id=REPO, **options
    ),
    "processor": lambda model, processor, folder, **options: processor.push_to_hub(REPO, **options),
    "processor saved": lambda model, processor, folder, **options: processor.save_pretrained(
        folder, True, repo_id=REPO, **options
    ),
    "configuration": lambda model, processor, folder, **options: model.config.push_to_hub(REPO, **options),
    "configuration saved": lambda model, processor, folder, **options: model.config.save_pretrained(
        folder, push_to_hub=True, repo_id=REPO, **options
    ),
    "tower's configuration": lambda model, processor, folder, **options: model.config.text_config.push_to_hub(
        REPO, **options
    ),
    "adapter": lambda model, processor, folder, **options: adapter(model).push_to_hub(REPO, **options),
    "adapter's configuration": lambda model, processor, folder, **options: ClipPromptConfig().push_to_hub(
        REPO, **options
    ),
}


@pytest.fixture(params=WAYS)
def upload(request, parts, tmp_path):
    return lambda **options: WAYS[request.param](*parts, tmp_path / "saved", **options)


def test_private_unless_told_otherwise(hub, upload):
    for private in ({}, {"private": None}, {"private": True}):
        upload(**private)
        assert hub.repository("model", REPO).private
        hub.clear()
    upload(private=False)
    assert not hub.repository("model", REPO).private


def test_a_public_repository_is_not_filled_by_accident(hub, upload):
    hub.add_repository("model", REPO)
    with pytest.raises(ValueError, match=f"{REPO} exists and is public.*private=False"):
        upload()
    assert len(hub.repository("model", REPO).commits) == 1
    upload(private=False)
    assert len(hub.repository("model", REPO).commits) == 2


@pytest.mark.parametrize(
    "card", [b"written by alice", b"---\nlicense: [\n---\nwritten by alice", "# \xe9".encode("latin-1")]
)
def test_a_card_that_is_there_stays(hub, upload, card):
    hub.add_repository("model", REPO, {"README.md": card}, private=True)
    upload()
    assert hub.files("model", REPO)["README.md"] == card


@pytest.mark.parametrize("status", [401, 429, 500, 503, None])
@pytest.mark.parametrize("way", ["model", "model saved", "adapter"])
@pytest.mark.parametrize("page", [r"/resolve/.*/README\.md", f"/api/models/{REPO}"])
def test_a_hub_that_fails_while_the_card_is_read_costs_no_card(hub, parts, tmp_path, way, status, page):
    hub.add_repository("model", REPO, {"README.md": b"written by alice"}, private=True)
    if status is None:
        hub.drop(page, times=1000)
    else:
        hub.fail(page, status=status, times=1000)
    with pytest.raises(Exception) as error:
        WAYS[way](*parts, tmp_path / "saved")
    assert hub.token not in str(error.value)
    assert hub.files("model", REPO) == {"README.md": b"written by alice"}


def test_an_older_card_in_the_cache_is_not_taken_for_the_repositorys(hub, parts):
    hub.add_repository("model", REPO, private=True)
    parts[0].push_to_hub(REPO, processor=parts[1])
    ModelCard.load(REPO)  # into the cache
    hub.add_commit("model", REPO, {"README.md": StoredFile(b"written by alice", False)}, "mine")
    hub.fail(r"/resolve/.*/README\.md", status=503, times=1000)
    with pytest.raises(OSError, match="cannot be pushed without its card being read: HTTP status 503"):
        WAYS["adapter"](*parts, None)
    assert hub.files("model", REPO)["README.md"] == b"written by alice"


@pytest.mark.parametrize("way", ["model", "adapter"])
def test_the_card_of_the_branch_that_is_pushed_to_is_read(hub, parts, way):
    hub.add_repository("model", REPO, {"notes.txt": b"first"}, private=True)
    bare = hub.repository("model", REPO).commits[-1].sha
    WAYS["configuration"](*parts, None)
    WAYS[way](*parts, None)  # the main branch has a card now
    assert "README.md" in hub.files("model", REPO)
    WAYS[way](*parts, None, revision=bare)
    assert "notes.txt" in hub.files("model", REPO) and b"must not be used" in hub.files("model", REPO)["README.md"]
    with pytest.raises(OSError, match=f"{REPO} cannot be pushed.*HTTP status 404"):
        WAYS[way](*parts, None, revision="elsewhere")


def test_a_saved_model_carries_code_card_and_the_processor_beside_it(hub, parts, tmp_path, caplog):
    model, processor = parts
    fresh = PromptCLIPModel(model.config)
    fresh.name_or_path = ""
    fresh.save_pretrained(tmp_path / "tiny", push_to_hub=True)
    assert {"model.safetensors", "config.json", "README.md", *REMOTE_FILES} <= set(hub.files("model", REPO))
    assert "uploaded without its processor" in caplog.text
    processor.save_pretrained(tmp_path / "tiny")
    (tmp_path / "tiny" / "notes.txt").write_text("mine")
    fresh.save_pretrained(tmp_path / "tiny", push_to_hub=True, commit_message="again", max_shard_size="100KB")
    files = hub.files("model", REPO)
    assert "tokenizer.json" in files and "notes.txt" not in files and "model.safetensors.index.json" in files
    assert hub.repository("model", REPO).commits[-1].message == "again"
    found = load_model(REPO)[0].state_dict()
    assert all(torch.equal(found[name], value) for name, value in fresh.state_dict().items())


def test_a_state_that_is_given_is_what_goes_up(hub, parts, tmp_path):
    state = {name: torch.zeros_like(value) for name, value in parts[0].state_dict().items()}
    parts[0].save_pretrained(tmp_path / "tiny", state_dict=state, push_to_hub=True, repo_id=REPO)
    assert not any(value.any() for value in load_model(REPO)[0].state_dict().values())


def test_other_processes_than_the_first_upload_nothing(hub, parts, tmp_path):
    parts[0].save_pretrained(tmp_path / "tiny", is_main_process=False, push_to_hub=True)
    assert not hub.requests


def test_a_processor_carries_the_code_that_loads_it(hub, parts, tmp_path):
    parts[1].push_to_hub(REPO)
    assert {"processor_config.json", "tokenizer.json", *REMOTE_FILES} <= set(hub.files("model", REPO))
    assert "README.md" not in hub.files("model", REPO)  # a card comes with the model
    assert PromptCLIPProcessor.from_pretrained(REPO).image_size == parts[1].image_size
    parts[0].push_to_hub(REPO, processor=parts[1])
    assert b"must not be used" in hub.files("model", REPO)["README.md"]


PUSHER = """
from transformers import AutoModel, AutoProcessor

AutoProcessor.from_pretrained(sys.argv[1], trust_remote_code=True).push_to_hub(sys.argv[2])
model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)
model.save_pretrained("saved", push_to_hub=True, repo_id=sys.argv[3])
model.config.push_to_hub(sys.argv[4])
model.push_to_hub(sys.argv[5])
"""


def test_whoever_has_the_code_from_the_hub_pushes_privately_too(hub, parts, tmp_path):
    parts[0].push_to_hub(REPO, processor=parts[1])
    names = ["alice/processor", "alice/saved", "alice/configuration", "alice/further"]
    run_elsewhere(PUSHER, REPO, *names, folder=tmp_path, environment=hub.environment(str(tmp_path / "home")))
    assert all(hub.repository("model", name).private for name in names)
    assert "model.safetensors" in hub.files("model", "alice/saved")
    further = hub.files("model", "alice/further")  # transformers sends the code along that came from the Hub
    assert set(REMOTE_FILES) - {"processor_files.py", "processing_prompt_clip.py"} <= set(further)
    assert further["model.safetensors"] == hub.files("model", REPO)["model.safetensors"]


def test_an_adapter_names_no_folder_of_this_machine(hub, parts, tiny_clip_folder, caplog):
    base = PromptCLIPModel.from_clip(tiny_clip_folder, image_size=None)
    model = get_peft_model(base, ClipPromptConfig(text_prompt_length=2, vision_prompt_length=2))
    model.push_to_hub(REPO, tags=["mine"])
    files = hub.files("model", REPO)
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md"} <= set(files)
    assert str(tiny_clip_folder) not in "".join(content.decode(errors="ignore") for content in files.values())
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] is None
    assert "published without its name" in caplog.text
    card = ModelCard(files["README.md"].decode())
    assert card.data.library_name == "peft" and "mine" in card.data.tags and "must not be used for" in card.text
    again = PeftModel.from_pretrained(PromptCLIPModel.from_clip(tiny_clip_folder, image_size=None), REPO)
    expected = {name: value for name, value in model.state_dict().items() if "clip_prompt" in name}
    found = again.state_dict()
    assert expected and all(torch.equal(found[name], value) for name, value in expected.items())


def test_an_adapter_of_a_base_on_the_hub_names_it(hub, tiny_clip_folder):
    hub.add_repository("model", "alice/base", {path.name: path.read_bytes() for path in tiny_clip_folder.iterdir()})
    base = PromptCLIPModel.from_clip("alice/base", image_size=None)
    get_peft_model(base, ClipPromptConfig(text_prompt_length=2, vision_prompt_length=2)).push_to_hub(REPO)
    card = ModelCard(hub.files("model", REPO)["README.md"].decode())
    assert card.data.base_model == "alice/base" and f'load_model("{REPO}")' in card.text
    assert load_model(REPO)[0].config.text_config.prompt_length == 2


def test_a_pipeline_of_ours_is_private(hub, parts):
    model, processor = parts
    pieces = {"tokenizer": processor.tokenizer, "image_processor": processor.image_processor}
    ours = pipeline("zero-shot-image-classification", model=model, **pieces)
    ours.push_to_hub(REPO)
    assert hub.repository("model", REPO).private
    hub.add_repository("model", "alice/open", {}, private=False)
    with pytest.raises(ValueError, match="alice/open exists and is public"):
        ours.push_to_hub("alice/open")
    ours.push_to_hub("alice/open", private=False)
    assert hub.repository("model", "alice/open").commits[-1].files
    processor.tokenizer.push_to_hub("alice/tokens")  # which is transformers', and goes its own way
    assert not hub.repository("model", "alice/tokens").private


def test_adapters_of_other_methods_go_their_own_way(hub, parts):
    model = get_peft_model(PromptCLIPModel(parts[0].config), LoraConfig(r=2, target_modules=["q_proj"]))
    model.push_to_hub(REPO, private=True)
    assert "adapter_model.safetensors" in hub.files("model", REPO)
    assert PeftModel.push_to_hub.__doc__  # the method keeps PEFT's name and words
