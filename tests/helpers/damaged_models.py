"""Damaged models, adapters, checkpoints and galleries, and the commands that meet them."""

import io
import json
import pickle
import shutil
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from damage import damage_bytes, damage_json, write_bomb

__all__ = ["KINDS", "Damaged", "Sources", "damaged"]

SETTINGS = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
)


class Damaged(NamedTuple):
    """A command on a damaged input, and the names of which a refusal must have one."""

    arguments: list[str]
    names: tuple[str, ...]


class Sources(NamedTuple):
    """Whole folders to copy."""

    clip: Path
    model: Path
    adapter: Path
    pictures: list[Image.Image]


def damaged(kind: str, seed: int, sources: Sources, folder: Path) -> Damaged:
    """Make the damaged input of a kind and seed in `folder`."""
    return KINDS[kind](Random(f"{kind} {seed}"), sources, folder)


def _settings_of_a_model(random: Random, sources: Sources, folder: Path) -> Damaged:
    model = shutil.copytree(random.choice((sources.clip, sources.model)), folder / "model")
    file = random.choice(
        [name for name in (*SETTINGS, "config.json", "config.json", "vocab.json") if (model / name).exists()]
    )
    key = damage_json(model / file, random)
    return Damaged(_use(random, "model", sources, folder), (file, key or file))


def _weights_of_a_model(random: Random, sources: Sources, folder: Path) -> Damaged:
    model = shutil.copytree(sources.model, folder / "model")
    file = model / "model.safetensors"
    if random.random() < 0.5:
        damage_bytes(file, random)
        return Damaged(_use(random, "model", sources, folder), ("model.safetensors", "model'"))
    tensors = load_file(file)
    name = random.choice(sorted(tensors))
    change = random.choice(
        [
            lambda one: one[..., :1].clone(),
            lambda one: one.to(torch.int8),
            lambda one: one * torch.nan,
            lambda one: one[None].clone(),
            lambda one: torch.zeros(0),
            lambda one: None,
        ]
    )
    changed = change(tensors.pop(name))
    save_file(tensors if changed is None else tensors | {name: changed}, file, {"format": "pt"})
    return Damaged(_use(random, "model", sources, folder), ("model.safetensors", "model'", name))


def _index_of_shards(random: Random, sources: Sources, folder: Path) -> Damaged:
    model = shutil.copytree(sources.model, folder / "model")
    names = sorted(load_file(model / "model.safetensors"))
    part = "model-00001-of-00001.safetensors"
    (model / "model.safetensors").rename(model / part)
    content = random.choice(
        [
            {},
            {"weight_map": []},
            {"weight_map": {}},
            {"weight_map": dict.fromkeys(names, "../" + part)},
            {"weight_map": dict.fromkeys(names, "/etc/passwd")},
            {"weight_map": dict.fromkeys(names, "weights.pkl")},
            {"weight_map": dict.fromkeys(names, "gone.safetensors")},
            {"weight_map": dict.fromkeys(names, 7)},
            {"weight_map": {f"{name}\x1b[2J": part for name in names}},
            {"metadata": {"total_size": 10**30}, "weight_map": dict.fromkeys(names[:3], part)},
        ]
    )
    (model / "model.safetensors.index.json").write_text(json.dumps(content))
    return Damaged(_use(random, "model", sources, folder), ("model.safetensors.index.json", "model'"))


def _pickled_weights(random: Random, sources: Sources, folder: Path) -> Damaged:
    model = shutil.copytree(sources.model, folder / "model")
    tensors = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    _write_pickle(random, tensors, model / "pytorch_model.bin")
    return Damaged(_use(random, "model", sources, folder), ("pytorch_model.bin", "model'"))


def _missing_file(random: Random, sources: Sources, folder: Path) -> Damaged:
    model = shutil.copytree(random.choice((sources.clip, sources.model)), folder / "model")
    file = random.choice(sorted(model.iterdir()))
    file.unlink()
    if random.random() < 0.4:
        file.mkdir()
    elif random.random() < 0.4:
        file.symlink_to(file.name)
    return Damaged(_use(random, "model", sources, folder), (file.name, "model"))


def _adapter(random: Random, sources: Sources, folder: Path) -> Damaged:
    adapter = shutil.copytree(sources.adapter, folder / "model")
    config, weights = adapter / "adapter_config.json", adapter / "adapter_model.safetensors"
    way, key = random.random(), ""
    if way < 0.6:
        key = damage_json(config, random)
    elif way < 0.8:
        damage_bytes(weights, random)
    elif way < 0.9:
        tensors = load_file(weights)
        weights.unlink()
        _write_pickle(random, tensors, adapter / "adapter_model.bin")
    else:
        other = shutil.copytree(adapter, folder / "other")
        for one, base in ((adapter, other), (other, adapter)):
            content = json.loads((one / "adapter_config.json").read_text())
            (one / "adapter_config.json").write_text(json.dumps(content | {"base_model_name_or_path": str(base)}))
    return Damaged(
        _use(random, "model", sources, folder),
        ("adapter_config.json", "adapter_model", key or "adapter", "base_model '"),
    )


def _checkpoint(random: Random, sources: Sources, folder: Path) -> Damaged:
    tensors = load_file(sources.clip / "model.safetensors")
    file = folder / f"best.{random.choice(('pt', 'pth', 'bin'))}"
    _write_pickle(random, tensors, file)
    return Damaged(["convert", file.name, "out"], (file.name,))


def _gallery(random: Random, sources: Sources, folder: Path) -> Damaged:
    gallery = folder / "gallery"
    gallery.mkdir()
    for number, picture in enumerate(sources.pictures):
        picture.save(gallery / f"{number}.png")
    name = random.choice(("bad.png", "\x1b[31mred.png", "\u202egnp.jpg", "a b\n.png", "x" * 200 + ".jpg"))
    bad = gallery / name
    way = random.choice(("bytes", "bomb", "folder", "loop", "outside", "mode", "animated", "exif"))
    if way == "bytes":
        sources.pictures[0].save(bad, "PNG" if name.endswith("png") else "JPEG")
        damage_bytes(bad, random)
    elif way == "bomb":
        Image.new("1", (60_000, 60_000)).save(bad, "PNG")
    elif way == "folder":
        bad.mkdir()
    elif way == "loop":
        bad.symlink_to(bad.name)
    elif way == "outside":
        bad.symlink_to("/etc/passwd")
    elif way == "mode":
        Image.new(random.choice(("F", "I", "LA", "CMYK", "1")), (3, 9)).save(bad, "TIFF")
    elif way == "animated":
        Image.new("P", (9, 9)).save(bad, "GIF", save_all=True, append_images=[Image.new("P", (9, 9), 3)] * 3)
    else:
        out = io.BytesIO()
        sources.pictures[0].save(out, "JPEG", exif=b"Exif\0\0" + bytes(random.randrange(256) for _ in range(200)))
        bad.write_bytes(out.getvalue())
    skip = random.choice(([], ["--on_bad_image", "skip"]))
    names = ("gallery", "bad.png", "red.png", "gnp.jpg", ".png", ".jpg")
    return Damaged(["search", str(sources.model), "a man", "--gallery", "gallery", *skip], names)


KINDS = {
    "settings": _settings_of_a_model,
    "weights": _weights_of_a_model,
    "index": _index_of_shards,
    "pickle": _pickled_weights,
    "missing": _missing_file,
    "adapter": _adapter,
    "checkpoint": _checkpoint,
    "gallery": _gallery,
}


def _use(random: Random, model: str, sources: Sources, folder: Path) -> list[str]:
    """Return a command that loads a model."""
    (folder / "photos").mkdir()
    rows = []
    for person in range(20):
        sources.pictures[0].save(folder / "photos" / f"{person}.png")
        rows.append({"image": f"{person}.png", "person_id": person, "caption": f"a man in coat {person}"})
    (folder / "photos" / "annotations.jsonl").write_text("\n".join(map(json.dumps, rows)))
    training = (
        "--dataset custom --data_dir photos --output_dir run --stages one --stage_one_max_steps 1 --batch_size 4"
    )
    return random.choice(
        [
            ["search", model, "a man in red", "--gallery", "photos", "--json"],
            ["search", model, "a man in red", "--gallery", "photos", "--json"],
            ["export", model, "--output", "onnx"],
            ["evaluate", model, "--data", "custom", "--data_dir", "photos", "--split", "test"],
            ["train", "--base_model", model, *training.split(), "--num_workers", "0"],
            ["search", model, "a man in red", "--gallery", "photos"],
        ]
    )


class _Evil:
    def __reduce__(self) -> tuple:
        return print, ("executed",)


def _write_pickle(random: Random, tensors: dict[str, torch.Tensor], file: Path) -> None:
    name = random.choice(sorted(tensors))
    one = tensors[name]
    ways = {
        "cut": lambda: _saved(tensors, file, random),
        "sparse": lambda: torch.save(tensors | {name: torch.eye(9).to_sparse()}, file),
        "strided": lambda: torch.save(tensors | {name: one.flatten()[:1].expand(10**6, 10**5)}, file),
        "quantised": lambda: torch.save(tensors | {name: one.to(torch.int8)}, file),
        "meta": lambda: torch.save(tensors | {name: one.to("meta")}, file),
        "evil": lambda: torch.save(tensors | {"x": _Evil()}, file),
        "plain": lambda: file.write_bytes(pickle.dumps(_Evil())),
        "list": lambda: torch.save(list(tensors.values()), file),
        "names": lambda: torch.save({f"{key}\x1b[31m\n": value for key, value in tensors.items()}, file),
        "numbers": lambda: torch.save(dict(enumerate(tensors.values())), file),
        "module": lambda: torch.save(torch.nn.Linear(2, 2), file),
        "nan": lambda: torch.save(tensors | {name: one * torch.nan}, file),
        "lost": lambda: torch.save({key: value for key, value in tensors.items() if key != name}, file),
        "bomb": lambda: write_bomb(file, random.choice((300, 300, 2000))),
    }
    ways[random.choice(sorted(ways))]()


def _saved(tensors: dict[str, torch.Tensor], file: Path, random: Random) -> None:
    torch.save(tensors, file)
    damage_bytes(file, random)
