"""Model folders that are damaged, disagree with themselves, or name code: each is refused in words, or ignored."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from modeling_prompt_clip.loading import load_model, processor_path
from modeling_prompt_clip.processor_files import read_image_settings


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def folder(tiny_clip_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_clip_folder, tmp_path / "clip")


def as_pickle(folder: Path, change: Callable[[bytes], bytes]) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(change((folder / "pytorch_model.bin").read_bytes()))


@pytest.mark.parametrize(
    "change",
    [lambda data: data[:-200], lambda data: b"", lambda data: b"version https://git-lfs.github.com/spec/v1\n"],
    ids=["cut", "empty", "a pointer"],
)
def test_a_damaged_pickle(folder: Path, change: Callable[[bytes], bytes]):
    as_pickle(folder, change)
    with pytest.raises(OSError, match=r"weights of .*clip.* are damaged"):
        load_model(folder)


@pytest.mark.parametrize("content", ["{", '{"metadata": {}}'])
def test_a_damaged_index(folder: Path, content: str):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(OSError, match="are damaged"):
        load_model(folder)


@pytest.mark.parametrize("setting", [{"hidden_size": 48}, {"max_position_embeddings": 50}])
def test_weights_of_another_configuration_are_named(folder: Path, setting: dict):
    text = json.loads((folder / "config.json").read_text())["text_config"]
    change_json(folder / "config.json", text_config={**text, **setting})
    with pytest.raises(ValueError, match=r"has text_model\..* of shape .*config.json asks for"):
        load_model(folder)


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
def test_a_kernel_that_a_configuration_names_is_not_loaded(tiny_folder: Path, tmp_path: Path, name: str):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    change_json(folder / "config.json", **{name: "eve/kernel"})
    assert load_model(folder)[0].config._attn_implementation == "sdpa"


def test_a_link_to_nothing_is_no_absent_file(folder: Path):
    (folder / "preprocessor_config.json").unlink()
    (folder / "preprocessor_config.json").symlink_to(folder / "gone")
    with pytest.raises(OSError, match=r"preprocessor_config.json of .* is damaged"):
        read_image_settings(folder)


def test_an_unknown_activation_is_no_damage_of_weights(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["hidden_act"] = "swooosh"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"^hidden_act in config.json of .* is 'swooosh', which transformers lacks"):
        load_model(folder)


@pytest.mark.parametrize("lines", [1, 3])
def test_merges_that_are_cut_off(folder: Path, lines: int):
    merges = (folder / "merges.txt").read_text().splitlines()
    (folder / "merges.txt").write_text("\n".join(merges[:lines]) + "\n")
    with pytest.raises(ValueError, match="lacks the merges"):
        load_model(folder)


@pytest.mark.parametrize("name", ["unused17", "<extra_id_0>", "[PAD]", "reserved_3"])
def test_tokens_that_only_fill_a_vocabulary_need_no_merges(folder: Path, name: str):
    vocabulary = json.loads((folder / "vocab.json").read_text())
    word = next(token for token, place in reversed(vocabulary.items()) if not token.startswith("<|"))
    filled = {name if token == word else token: place for token, place in vocabulary.items()}
    (folder / "vocab.json").write_text(json.dumps(filled))
    merges = (folder / "merges.txt").read_text().splitlines()
    kept = [line for line in merges if line.replace(" ", "") != word]
    assert len(kept) == len(merges) - 1
    (folder / "merges.txt").write_text("\n".join(kept) + "\n")
    load_model(folder)


@pytest.mark.parametrize("load", [load_model, processor_path])
def test_adapters_that_name_each_other(tiny_adapter_folder: Path, tmp_path: Path, load: Callable):
    one, two = (shutil.copytree(tiny_adapter_folder, tmp_path / name) for name in ("one", "two"))
    for adapter, base in ((one, two), (two, one)):
        change_json(adapter / "adapter_config.json", base_model_name_or_path=str(base))
    with pytest.raises(ValueError, match="leads back"):
        load(one)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"x"'])
def test_a_damaged_adapter_configuration_is_named(tiny_adapter_folder: Path, tmp_path: Path, content: str):
    folder = shutil.copytree(tiny_adapter_folder, tmp_path / "adapter")
    (folder / "adapter_config.json").write_text(content)
    with pytest.raises(OSError, match=r"adapter_config.json of .* is damaged"):
        load_model(folder)


@pytest.mark.parametrize("value", ["false", 0, None])
def test_a_setting_of_captions_that_is_no_truth_value(tiny_folder: Path, tmp_path: Path, value: object):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    change_json(folder / "processor_config.json", clean_captions=value)
    with pytest.raises(ValueError, match="clean_captions of the processor"):
        load_model(folder)
