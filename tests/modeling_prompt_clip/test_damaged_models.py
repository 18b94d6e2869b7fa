"""Model folders that are damaged, disagree with themselves, or name code: each is refused in words, or ignored."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from modeling_prompt_clip.loading import load_model, processor_path
from modeling_prompt_clip.processor_files import read_image_settings
from modeling_prompt_clip.retrieval.encoding import encode_captions


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


@pytest.mark.parametrize(
    "content", ["{}", '{"weight_map": {"a": "../x.safetensors"}}', '{"weight_map": {"a": "x.bin"}}']
)
def test_an_index_that_names_no_files_of_its_folder(folder: Path, content: str):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(OSError, match=r"model.safetensors.index.json, the index .*; copy or download it again"):
        load_model(folder)


@pytest.mark.parametrize(
    ("tower", "name", "value"),
    [
        ("text", "vocab_size", 10**7),
        ("text", "max_position_embeddings", 0),
        ("text", "prompt_length", 10**7),
        ("vision", "image_size", 10**7),
        ("vision", "num_hidden_layers", 10**7),
        ("vision", "hidden_size", 0),
    ],
)
def test_absurd_sizes_are_refused_before_they_are_allocated(folder: Path, tower: str, name: str, value: int):
    config = json.loads((folder / "config.json").read_text())
    change_json(folder / "config.json", **{f"{tower}_config": {**config[f"{tower}_config"], name: value}})
    with pytest.raises(ValueError, match=rf"config.json of .*{name}") as error:
        load_model(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "tokenizer_config.json"])
def test_json_nested_too_deeply(folder: Path, file: str):
    (folder / file).write_text("[" * 100_000)
    with pytest.raises(OSError, match=file):
        load_model(folder)


def test_token_ids_beyond_the_vocabulary(folder: Path):
    vocabulary = json.loads((folder / "vocab.json").read_text())
    end = max(vocabulary, key=vocabulary.get)
    (folder / "vocab.json").write_text(json.dumps({**vocabulary, end: len(vocabulary) + 7}))
    with pytest.raises(ValueError, match=rf"gives .* the id {len(vocabulary) + 7}, beyond the {len(vocabulary)}"):
        load_model(folder)


def test_a_picture_size_of_a_hundred_thousand(folder: Path):
    change_json(folder / "preprocessor_config.json", do_pad=True, pad_size={"height": 100_000, "width": 100_000})
    with pytest.raises(OSError, match=r"pad_size is .*at most 8192"):
        load_model(folder)


def test_weights_that_are_a_compressed_archive(folder: Path):
    (folder / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 27))
    with pytest.raises(OSError, match=r"pytorch_model.bin is a compressed archive of 134,217,728 bytes"):
        load_model(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text_prompt_length", "4"),
        ("text_prompt_length", 10**7),
        ("prompt_layers", [[0]]),
        ("base_towers", [1]),
        ("base_model_name_or_path", 5),
        ("init_std", "x"),
    ],
)
def test_settings_of_an_adapter_of_a_wrong_kind(tiny_adapter_folder: Path, tmp_path: Path, name: str, value: object):
    folder = shutil.copytree(tiny_adapter_folder, tmp_path / "adapter")
    change_json(folder / "adapter_config.json", **{name: value})
    with pytest.raises((ValueError, OSError), match=rf"adapter_config.json of .*{name}"):
        load_model(folder)


@pytest.mark.parametrize("change", [torch.Tensor.to_sparse, lambda one: one[:1, :1].expand(9999, 9999)])
def test_tensors_of_an_adapter_that_are_no_plain_memory(tiny_adapter_folder: Path, tmp_path: Path, change: Callable):
    folder = shutil.copytree(tiny_adapter_folder, tmp_path / "adapter")
    tensors = load_file(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    name = min(tensors)
    torch.save({**tensors, name: change(tensors[name])}, folder / "adapter_model.bin")
    with pytest.raises(ValueError, match=rf"holds {name}, which (is torch.sparse|repeats its values)"):
        load_model(folder)


def test_weights_are_as_readable_as_their_settings(tiny_clip_folder: Path, tmp_path: Path):
    load_model(tiny_clip_folder)[0].save_pretrained(tmp_path)
    modes = {(tmp_path / name).stat().st_mode for name in ("config.json", "model.safetensors")}
    assert len(modes) == 1


def test_a_projection_of_no_size(folder: Path):
    change_json(folder / "config.json", projection_dim=-1)
    with pytest.raises(ValueError, match=r"config.json of .*projection_dim of .* is -1"):
        load_model(folder)


def test_weights_that_claim_more_than_a_file_can_hold(tiny_adapter_folder: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_adapter_folder, tmp_path / "adapter")
    file = folder / "adapter_model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(OSError, match=r"adapter_model.safetensors of .*adapter"):
        load_model(folder)


def test_a_model_that_gives_nan_is_named(folder: Path, pictures: list):
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {
            **tensors,
            "logit_scale": tensors["logit_scale"],
            "text_projection.weight": tensors["text_projection.weight"] * torch.nan,
        },
        folder / "model.safetensors",
        {"format": "pt"},
    )
    model, processor = load_model(folder)
    with pytest.raises(ValueError, match=r"the model '.*clip' gives NaN or infinity for some caption"):
        encode_captions(model, processor, ["a man"])
