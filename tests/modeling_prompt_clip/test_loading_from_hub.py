"""`load_model` of a Hub id: revisions, tokens, and those of an adapter's base model."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from modeling_prompt_clip import load_model

CLIP, ADAPTER = "alice/clip", "alice/prompts"


def files_of(folder: Path, **changed: object) -> dict[str, bytes]:
    """A folder's files; `changed` are entries of its adapter_config.json."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    if changed:
        files["adapter_config.json"] = json.dumps(json.loads(files["adapter_config.json"]) | changed).encode()
    return files


def halved(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    tensors = {key: value / 2 if value.is_floating_point() else value for key, value in load(files[name]).items()}
    return files | {name: save(tensors, metadata={"format": "pt"})}


@pytest.fixture
def publish(hub):
    """Commit files to a private repository of alice's; returns the commit's hash."""

    def publish(repo_id: str, files: dict[str, bytes]) -> str:
        repository = hub.add_repository("model", repo_id, files, private=True)
        return repository.commits[-1].sha

    return publish


@pytest.fixture
def push_again(hub):
    def push_again(repo_id: str, files: dict[str, bytes]) -> str:
        stored = hub.repository("model", repo_id).commits[-1].files
        changed = {name: stored[name]._replace(content=content) for name, content in files.items()}
        return hub.add_commit("model", repo_id, changed, "again").sha

    return push_again


def same(model: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(model.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == same_name and torch.equal(value, found) for (name, value), (same_name, found) in pairs)


def test_revision_of_a_model(publish, push_again, tiny_clip_folder):
    files = files_of(tiny_clip_folder)
    first = publish(CLIP, files)
    second = push_again(CLIP, halved(files, "model.safetensors"))
    wanted, _ = load_model(tiny_clip_folder)
    assert same(load_model(CLIP, revision=first)[0], wanted)
    newest = load_model(CLIP)[0]
    assert not same(newest, wanted) and same(load_model(CLIP, revision=second)[0], newest)
    with pytest.raises(OSError, match="nowhere"):
        load_model(CLIP, revision="nowhere")


def test_revision_of_an_adapter_and_of_its_base(publish, push_again, tiny_clip_folder, tiny_adapter_folder):
    base = files_of(tiny_clip_folder)
    first_base = publish(CLIP, base)
    push_again(CLIP, halved(base, "model.safetensors"))
    adapter = files_of(tiny_adapter_folder, base_model_name_or_path=CLIP, revision=first_base)
    first = publish(ADAPTER, adapter)
    push_again(ADAPTER, halved(adapter, "adapter_model.safetensors"))
    wanted, wanted_processor = load_model(tiny_adapter_folder)
    model, processor = load_model(ADAPTER, revision=first)
    assert same(model, wanted) and processor.image_size == wanted_processor.image_size == (96, 32)
    newest = load_model(ADAPTER)[0].state_dict()
    changed = {name for name, value in wanted.state_dict().items() if not torch.equal(newest[name], value)}
    assert changed == {name for name in newest if name.endswith("prompt.weight")}  # prompts halved, base as recorded


def test_token_for_an_adapter_and_its_base(hub, publish, monkeypatch, tiny_clip_folder, tiny_adapter_folder):
    publish(CLIP, files_of(tiny_clip_folder))
    publish(ADAPTER, files_of(tiny_adapter_folder, base_model_name_or_path=CLIP))
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    for name in (CLIP, ADAPTER):
        with pytest.raises(OSError):
            load_model(name)
        assert load_model(name, token=hub.token)[0].name_or_path == name


@pytest.mark.parametrize("dtype", [torch.bfloat16, "bfloat16", "float16"])
@pytest.mark.parametrize("kind", ["tiny_clip_folder", "tiny_adapter_folder"])
def test_dtype(request, kind, dtype):
    folder = request.getfixturevalue(kind)
    model, _ = load_model(folder, dtype=dtype)
    wanted = load_model(folder)[0].to(getattr(torch, str(dtype).removeprefix("torch.")))
    assert same(model, wanted) and model.dtype == wanted.dtype != torch.float32


@pytest.mark.parametrize("dtype", [torch.int64, "int8", "nan", "half precision", 16])
def test_a_dtype_that_is_none_is_refused(tiny_clip_folder, dtype):
    with pytest.raises(ValueError, match=r"dtype is .*; give a floating point type of torch"):
        load_model(tiny_clip_folder, dtype=dtype)


def test_a_folder_has_no_revision(tiny_clip_folder):
    for name in (tiny_clip_folder, "stand-in"):
        with pytest.raises(ValueError, match="revision is 'main', but model .* is a folder; leave it out"):
            load_model(name, revision="main")


def test_device_of_model_and_adapter(tiny_clip_folder, tiny_adapter_folder):
    for folder in (tiny_clip_folder, tiny_adapter_folder):
        assert load_model(folder, device="meta")[0].device.type == "meta"
    assert load_model(tiny_clip_folder, device=torch.device("cpu"))[0].device.type == "cpu"


@pytest.mark.parametrize("device", ["gpu", "cpu:one", 3.5, "cuda:99", "xla"])
def test_a_device_that_is_not_here_is_refused(tiny_clip_folder, device):
    with pytest.raises(ValueError, match=r"device is .*, which cannot be used here \(.*'cpu' or 'cuda:0'"):
        load_model(tiny_clip_folder, device=device)
