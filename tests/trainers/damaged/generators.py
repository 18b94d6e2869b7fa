"""Recipes, run folders and checkpoints as disks, copies, editors and strangers damage them; all from one seed."""

import itertools
import json
import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from safetensors.torch import load_file, save_file

from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.run_folder.hashes import file_hashes

SEED = 20_13
FIELDS = [each.name for each in fields(TwoStageTrainingArguments)]
NUMBERS = [True, -1, 0, 0.5, 10**7, 10**30, -(10**30), 1e300]
TEXTS = ["", "\x1b[31mred\x1b[0m", "x" * 100_000, "\u202eabc", "../../..", "/dev/zero", "%s{0}"]
VALUES = [None, *NUMBERS, *TEXTS, [], [None], [[[]]], {}, {"a": {"b": []}}, {"sdm": None}, [10**9, 10**9]]
STATE = "checkpoints/stage_two-step_4"  # where the killed run resumes
RUN_FILES = ("config.yaml", "results.json", "progress.json", "metrics.jsonl")


class Damage(NamedTuple):
    """One damaged input."""

    name: str  # of the case
    do: Callable[[Path], object]  # damages a file, or a run folder
    says: tuple[str, ...]  # one of which the last line of a failure has


# recipes: `do` writes the file


def recipes() -> Iterator[Damage]:
    """Damaged recipes."""
    draw = random.Random(SEED)
    for number in range(120):
        name, value = draw.choice(FIELDS), draw.choice(VALUES)
        says = (name, value) if isinstance(value, str) and value else (name,)  # or the file that the value names
        yield Damage(f"{number}-{name}", lambda path, name=name, value=value: _add(path, {name: value}), says)
    for name, content in {**_bytes(draw), **_yamls()}.items():
        yield Damage(name, lambda path, content=content: path.write_bytes(content), ("recipe.yaml", "batch_size"))
    yield Damage("folder", lambda path: (path.unlink(), path.mkdir()), ("recipe.yaml",))
    yield Damage("link to itself", lambda path: (path.unlink(), path.symlink_to(path)), ("recipe.yaml",))
    yield Damage("endless", lambda path: (path.unlink(), path.symlink_to("/dev/zero")), ("recipe.yaml",))
    yield Damage("pipe", lambda path: (path.unlink(), os.mkfifo(path)), ("recipe.yaml",))


def _add(path: Path, settings: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | settings))


def _bytes(draw: random.Random) -> dict[str, bytes]:
    return {
        "noise": draw.randbytes(3000),
        "zeros": bytes(4096),
        "UTF-16": "batch_size: 4\n".encode("utf-16"),
        "escapes": b"batch_\x1b[2Jsize: 4\n",
        "long": b"a: " + b"9" * 5_000_000,
        "zip": b"PK\x03\x04" + draw.randbytes(200),
    }


def _yamls() -> dict[str, bytes]:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    return {
        "bomb": bomb.encode(),
        "merged bomb": b"a: &a {b: 1}\n" + b"c: {<<: [" + b"*a, " * 60_000 + b"*a]}\n",
        "deep list": b"stages: " + b"[" * 30_000,
        "deep mapping": b"stages: " + b"{a: " * 9_000,
        "deep blocks": "".join(" " * n + "a:\n" for n in range(600)).encode(),
        "own alias": b"stages: &a [*a]\n",
        "python tag": b"stages: !!python/object/apply:os.system ['true']\n",
        "two documents": b"batch_size: 4\n---\nbatch_size: 5\n",
        "key twice": b"batch_size: 4\nbatch_size: 5\n",
        "keys of lists": b"? [a, b]\n: 1\n",
        "keys of numbers": b"1: 2\n",
        "digits": b"batch_size: " + b"9" * 6_000 + b"\n",
        "sixty": b"batch_size: 1:" + b"59:" * 6_000 + b"59\n",
        "date": b"batch_size: 2001-99-99\n",
        "binary": b"batch_size: !!binary \xc3\xa4\n",
    }


# run folders: `do` damages a file of a finished run


def run_files() -> Iterator[tuple[str, Damage]]:
    """Damaged files of a finished run, with the verb that meets them."""
    draw = random.Random(SEED + 1)
    for number in range(48):
        file, verb = RUN_FILES[number % 4], draw.choice(("evaluate", "push", "train"))
        verb = "evaluate" if file == "config.yaml" and number % 8 else verb
        seed = draw.random()
        yield verb, Damage(f"{verb}-{number}-{file}", _mutation(file, seed), (file, "config.yaml", *FIELDS))
    verbs = ("train", "evaluate", "push")
    for number, (name, content) in enumerate({**_bytes(draw), **_yamls()}.items()):
        file = RUN_FILES[number % 4] if name in _yamls() else draw.choice(RUN_FILES)
        verb = verbs[number % 3]
        write = lambda run, file=file, content=content: (run / file).write_bytes(content)  # noqa: E731
        yield verb, Damage(f"{verb}-{file}-{name}", write, (file,))
    specials = {
        "endless": lambda path: path.symlink_to("/dev/zero"),
        "pipe": os.mkfifo,
        "large list": lambda path: path.write_bytes(b"- a: [1, 2]\n" * 1_000_000),
    }
    for number, (kind, file) in enumerate(itertools.product(specials, RUN_FILES)):
        verb = verbs[number % 3]
        replace = lambda run, file=file, make=specials[kind]: ((run / file).unlink(), make(run / file))  # noqa: E731
        yield verb, Damage(f"{verb}-{file}-{kind}", replace, (file,))
    for name in ("config.json", "preprocessor_config.json", "tokenizer_config.json", "model.safetensors"):
        flat = lambda run, name=name: (run / "model" / name).write_bytes(b"[" * 50_000)  # noqa: E731
        yield "push", Damage(f"push-model-{name}", flat, (name, "model"))


def _mutation(file: str, seed: float) -> Callable[[Path], None]:
    """A change of one random value in one of a run's files, or of its bytes."""

    def change(run: Path) -> None:
        draw = random.Random(seed)
        path = run / file
        if draw.random() < 0.25:
            content = bytearray(path.read_bytes())
            at = draw.randrange(len(content))
            path.write_bytes(content[:at] if draw.random() < 0.5 else content[:at] + draw.randbytes(9) + content[at:])
            return
        if file == "config.yaml":
            path.write_text(yaml.safe_dump(mutated(yaml.safe_load(path.read_text()), draw)))
        elif file == "metrics.jsonl":
            lines = path.read_text().splitlines()
            at = draw.randrange(len(lines))
            lines[at] = json.dumps(mutated(json.loads(lines[at]), draw))
            path.write_text("\n".join(lines) + "\n")
        else:
            path.write_text(json.dumps(mutated(json.loads(path.read_text()), draw)))

    return change


def mutated(value: Any, draw: random.Random) -> Any:
    """A copy of a JSON value in which one value was exchanged, removed or renamed."""
    if isinstance(value, dict | list) and value and draw.random() < 0.8:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key, copied = draw.choice(list(keys)), value.copy()
        if draw.random() < 0.15:
            del copied[key]
        else:
            copied[key] = mutated(value[key], draw)
        return copied
    return draw.choice(VALUES)


# checkpoints: `do` damages the killed run


def checkpoints() -> Iterator[Damage]:
    """Damaged checkpoints of a killed run; where a stranger made them, the hashes are right."""
    draw = random.Random(SEED + 2)
    for number in range(16):
        seed, whole = draw.random(), number % 4 != 0
        yield Damage(
            f"{number}-facts", lambda run, seed=seed: _spoil_facts(run, seed), ("stage_two-step_", "config.yaml")
        )
        spoil = lambda run, seed=seed, whole=whole: _spoil_bytes(run, seed, hashed=whole)  # noqa: E731
        yield Damage(f"{number}-bytes-{'hashed' if whole else 'as found'}", spoil, ("stage_two-step_", "stage two"))
    for name, state in _states().items():
        yield Damage(
            f"state-{name}", lambda run, state=state: _replace(run, "state.pt", state), ("state.pt", "stage_two-step_")
        )
    for seed in range(12):
        yield Damage(
            f"state-mutated-{seed}", lambda run, seed=seed: _mutate_state(run, seed), ("state.pt", "stage_two-step_")
        )
    for name, change in _weights().items():
        yield Damage(
            f"weights-{name}",
            lambda run, change=change: _spoil_weights(run, change),
            ("stage_two-step_", "stage two"),
        )
    bomb = lambda run: _replace(run, "state.pt", _zip_bomb)  # noqa: E731
    yield Damage("state-zip bomb", bomb, ("is a compressed archive",))
    yield Damage("swapped", _swap, ("stage_two-step_",))
    yield Damage("state is a folder", lambda run: _replace(run, "state.pt", _folder), ("stage_two-step_",))
    yield Damage("state of the other stage", _state_of_stage_one, ("stage_two-step_",))
    yield Damage("empty folder", lambda run: _emptied(run / STATE), ("stage_two-step_",))
    yield Damage("step of ten million", lambda run: _renamed(run, 10_000_000), ("stage_two-step_",))
    yield Damage(
        "links out",
        lambda run: _replace(run, "state.pt", lambda p: p.symlink_to("/dev/zero")),
        ("state.pt", "stage_two-step_"),
    )


def rehash(run: Path) -> None:
    """Write the hashes of a checkpoint as it is now."""
    facts = run / STATE / "checkpoint.json"
    content = json.loads(facts.read_text())
    facts.unlink()
    facts.write_text(json.dumps(content | {"files": file_hashes(run / STATE)}))


def _spoil_facts(run: Path, seed: float) -> None:
    path = run / STATE / "checkpoint.json"
    path.write_text(json.dumps(mutated(json.loads(path.read_text()), random.Random(seed))))


def _spoil_bytes(run: Path, seed: float, hashed: bool) -> None:
    draw = random.Random(seed)
    path = draw.choice([run / STATE / "state.pt", *sorted((run / STATE / "weights").glob("*"))])
    content = path.read_bytes()
    at = draw.randrange(len(content))
    path.write_bytes(content[:at] if draw.random() < 0.5 else content[:at] + draw.randbytes(40) + content[at + 40 :])
    if hashed:
        rehash(run)


def _replace(run: Path, name: str, write: Callable[[Path], object]) -> None:
    path = run / STATE / name
    path.unlink()
    write(path)
    if path.is_file() and not path.is_symlink():
        rehash(run)


class Foreign:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch unpickled",)


def _states() -> dict[str, Callable[[Path], object]]:
    """Files in place of `state.pt`."""
    return {
        "foreign class": lambda path: torch.save({"loop": Foreign(), "random": []}, path),
        "plain pickle": lambda path: path.write_bytes(pickle.dumps({"loop": Foreign()})),
        "list": lambda path: torch.save([1, 2], path),
        "nothing": lambda path: torch.save({}, path),
        "texts": lambda path: torch.save({"loop": "a", "random": ["b"]}, path),
        "empty loop": lambda path: torch.save({"loop": {}, "random": [{}]}, path),
        "no random": lambda path: torch.save({"loop": {}, "random": []}, path),
        "deep": lambda path: torch.save(_deep(300), path),
        "deep pickle": lambda path: path.write_bytes(b"\x80\x02" + b"]" * 100_000 + b"."),
        "sparse": lambda path: torch.save({"loop": torch.sparse_coo_tensor(size=(10**6, 10**6)), "random": []}, path),
        "strided": lambda path: torch.save({"loop": torch.zeros(1).expand(10**6, 10**5), "random": [{}]}, path),
        "empty file": lambda path: path.write_bytes(b""),
        "text": lambda path: path.write_text("<html>not found</html>"),
    }


def _deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _zip_bomb(path: Path) -> None:
    torch.save({"loop": {"x": torch.zeros(4)}, "random": [{}]}, path)
    small = path.with_suffix(".small")
    path.rename(small)
    with zipfile.ZipFile(small) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in source.namelist():
            if "/data/" not in name:
                bomb.writestr(name, source.read(name))
                continue
            with bomb.open(name, "w", force_zip64=True) as file:
                for _ in range(400):
                    file.write(bytes(1 << 20))
    small.unlink()


def _mutate_state(run: Path, seed: int) -> None:
    """Exchange one value of the state."""
    path = run / STATE / "state.pt"
    state = torch.load(path, weights_only=True)
    torch.save(mutated(state, random.Random(SEED + seed)), path)
    rehash(run)


def _weights() -> dict[str, Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]]:
    """Changes of a checkpoint's tensors."""
    first: Callable[[Any], str] = min
    return {
        "none": lambda tensors: {},
        "one less": lambda tensors: {name: value for name, value in tensors.items() if name != first(tensors)},
        "one more": lambda tensors: {**tensors, "\x1b[31mmore": torch.zeros(2)},
        "other shape": lambda tensors: {**tensors, first(tensors): torch.zeros(3, 3)},
        "no dimension": lambda tensors: {**tensors, first(tensors): torch.tensor(1.0)},
        "size 0": lambda tensors: {**tensors, first(tensors): torch.zeros(0, 3)},
        "other kind": lambda tensors: {**tensors, first(tensors): tensors[first(tensors)].to(torch.int8)},
        "complex": lambda tensors: {**tensors, first(tensors): tensors[first(tensors)].to(torch.complex64)},
        "not a number": lambda tensors: {name: value * torch.nan for name, value in tensors.items()},
        "large": lambda tensors: {name: value * 1e30 for name, value in tensors.items()},
    }


def _spoil_weights(run: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    path = run / STATE / "weights" / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    rehash(run)


def _swap(run: Path) -> None:
    folders = [run / "checkpoints" / name for name in ("stage_two-step_2", "stage_two-step_4")]
    folders[0].rename(run / "checkpoints" / "aside")
    folders[1].rename(folders[0])
    (run / "checkpoints" / "aside").rename(folders[1])


def _folder(path: Path) -> None:
    path.mkdir()


def _state_of_stage_one(run: Path) -> None:
    state = torch.load(run / STATE / "state.pt", weights_only=True)
    state["loop"]["optimizer"]["param_groups"] = state["loop"]["optimizer"]["param_groups"][:1]
    torch.save(state, run / STATE / "state.pt")
    rehash(run)


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _renamed(run: Path, step: int) -> None:
    facts = run / STATE / "checkpoint.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"step": step}))
    (run / STATE).rename(run / "checkpoints" / f"stage_two-step_{step}")
