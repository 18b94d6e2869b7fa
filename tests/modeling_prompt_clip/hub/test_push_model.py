"""`model.push_to_hub` to a Hub of the test's own, by the real clients."""

import pytest
import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from peft import get_peft_model

from elsewhere import run_elsewhere
from modeling_prompt_clip import ClipPromptConfig, PromptCLIPModel
from modeling_prompt_clip.hub.remote_code import REMOTE_FILES
from modeling_prompt_clip.loading import STAND_IN, load_model

REPO = "alice/tiny"
PUSHER = """
from transformers import AutoModel

AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True).push_to_hub(sys.argv[2])
"""


def test_what_arrives_can_be_loaded(hub, parts):
    model, processor = parts
    address = model.push_to_hub(REPO, processor=processor)
    repository = hub.repository("model", REPO)
    assert address == f"{hub.url}/{REPO}/commit/{repository.commits[-1].sha}"
    assert repository.private  # a model of this kind finds people
    assert {"model.safetensors", "config.json", "tokenizer.json", *REMOTE_FILES} <= set(hub.files("model", REPO))
    found, its_processor = load_model(REPO)
    expected = model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.state_dict().items())
    assert its_processor.image_size == processor.image_size
    # its own processor is found by where the model came from
    found.push_to_hub("alice/copy")
    assert hub.files("model", "alice/copy")["tokenizer.json"] == hub.files("model", REPO)["tokenizer.json"]


def test_a_card_that_is_there_stays_and_a_new_one_is_whole(hub, parts):
    model, processor = parts
    model.push_to_hub(REPO, processor=processor, license="mit", private=False)
    card = ModelCard(hub.files("model", REPO)["README.md"].decode())
    assert card.data.license == "mit" and not card.data.eval_results
    assert "must not be used for" in card.text and "More Information Needed" not in card.text
    assert not hub.repository("model", REPO).private
    hub.add_repository("model", "alice/own", {"README.md": b"written by alice", "adapter_config.json": b"{}"})
    model.push_to_hub("alice/own", processor=processor, private=False)
    files = hub.files("model", "alice/own")
    assert files["README.md"] == b"written by alice"
    assert "adapter_config.json" not in files  # the repository would be taken for an adapter


def test_a_branch_that_is_not_there(hub, parts):
    model, processor = parts
    hub.add_repository("model", REPO, private=True)
    with pytest.raises(OSError, match=f"{REPO} cannot be pushed.*HTTP status 404"):
        model.push_to_hub(REPO, processor=processor, revision="elsewhere")
    assert "model.safetensors" not in hub.files("model", REPO)


@pytest.mark.slow
def test_whoever_has_it_from_the_hub_pushes_it_on(hub, parts, tmp_path):
    """Without the package: transformers sends the code along that came from the Hub."""
    parts[0].push_to_hub(REPO, processor=parts[1])
    environment = hub.environment(str(tmp_path / "home"))
    run_elsewhere(PUSHER, REPO, "alice/further", folder=tmp_path, environment=environment)
    assert hub.repository("model", "alice/further").private
    found, expected = (hub.files("model", name) for name in ("alice/further", REPO))
    assert set(REMOTE_FILES) - {"processor_files.py", "processing_prompt_clip.py"} <= set(found)
    assert found["model.safetensors"] == expected["model.safetensors"]


def test_an_adapter_that_is_not_merged_is_refused(hub, tiny_folder):
    model = PromptCLIPModel.from_pretrained(tiny_folder)
    get_peft_model(model, ClipPromptConfig(text_prompt_length=2, vision_prompt_length=2))
    with pytest.raises(ValueError, match="not merged; push what merge_and_unload"):
        model.push_to_hub(REPO)
    assert not hub.requests


def test_figures_of_other_weights_go(hub, parts, caplog):
    result = EvalResult("retrieval", "people", "People", "R@1", 99.0)
    data = ModelCardData(model_name="tiny", eval_results=[result])
    left = {"README.md": f"---\n{data.to_yaml()}\n---\nmine".encode(), "results.json": b"[]", "notes.txt": b"kept"}
    hub.add_repository("model", REPO, left, private=True)
    parts[0].push_to_hub(REPO, processor=parts[1], tags=["mine"], commit_description="more", private=None)
    files = hub.files("model", REPO)
    card = ModelCard(files["README.md"].decode())
    assert not card.data.eval_results and "mine" in card.data.tags
    assert "results.json" not in files and files["notes.txt"] == b"kept"
    assert "has the card and the figures of other weights" in caplog.text


def test_private_means_private_unless_told_otherwise(hub, parts):
    parts[0].push_to_hub(REPO, processor=parts[1], private=None)  # transformers' default, which is public there
    assert hub.repository("model", REPO).private


def test_the_processor_of_the_stand_in_is_found(hub):
    load_model(STAND_IN)[0].push_to_hub(REPO)
    assert "tokenizer.json" in hub.files("model", REPO)


def test_a_public_repository_is_not_filled_by_accident(hub, parts):
    hub.add_repository("model", REPO)
    with pytest.raises(ValueError, match=f"{REPO} exists and is public.*private=False"):
        parts[0].push_to_hub(REPO, processor=parts[1])
    assert "model.safetensors" not in hub.files("model", REPO)


@pytest.mark.parametrize(("name", "message"), [("", "not loaded from anywhere"), ("/nowhere", "read from '/nowhere'")])
def test_without_a_processor(hub, parts, name, message):
    model = PromptCLIPModel(parts[0].config)
    model.name_or_path = name
    with pytest.raises(ValueError, match=message + ".*pass processor=PromptCLIPProcessor"):
        model.push_to_hub(REPO)
    assert not hub.requests


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_a_hub_that_refuses(hub, parts, status):
    hub.fail("/commit/", status=status, times=100)
    with pytest.raises(OSError, match=f"{REPO} cannot be pushed: HTTP status {status}") as error:
        parts[0].push_to_hub(REPO, processor=parts[1])
    assert hub.token not in str(error.value)
    hub.heal()
    parts[0].push_to_hub(REPO, processor=parts[1])
    assert "model.safetensors" in hub.files("model", REPO)


def test_what_passes_is_tried_again(hub, parts):
    hub.fail("/commit/", status=503, times=1)
    parts[0].push_to_hub(REPO, processor=parts[1])
    assert "model.safetensors" in hub.files("model", REPO)


def test_a_pull_request_needs_no_right_to_write(hub, parts):
    hub.add_repository("model", "bob/clip")
    address = parts[0].config.push_to_hub("bob/clip", create_pr=True, private=False)
    assert address == f"{hub.url}/bob/clip/discussions/1"
    with pytest.raises(OSError, match="bob/clip cannot be pushed: HTTP status 403"):
        parts[0].config.push_to_hub("bob/clip", private=False)
    assert "config.json" not in hub.files("model", "bob/clip")
