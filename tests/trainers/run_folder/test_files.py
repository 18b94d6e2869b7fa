"""Whatever stands in the files of a run, each reader answers in words, and names the file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from trainers.data.fingerprint import data_fingerprint
from trainers.publishing.content import write_content
from trainers.publishing.run_card import write_run_card
from trainers.run_folder.checkpoint_store import FACTS, CheckpointStore
from trainers.run_folder.files import read_arguments, read_results
from trainers.run_folder.folder import RunFolder
from trainers.run_folder.model_fingerprint import model_fingerprint
from trainers.run_folder.results import stage_result
from trainers.run_folder.resume_point import resume_point
from trainers.stages.starting_model import load_base

DAMAGES = {
    "empty": b"",
    "null": b"null\n",
    "list": b"[]\n",
    "object": b"{}\n",
    "number": b"7\n",
    "text": b'"x"\n',
    "half": b'[{"stage": "one", "st\n',
    "not UTF-8": b"\xff\xfe\x00{\n",
    "foreign": b'{"architectures": ["CLIPModel"], "hidden_size": 3}\n',
    "list of numbers": b"[1, 2]\n",
    "nested": b"[" * 20_000 + b"\n",
    "nested objects": b'{"a":' * 20_000 + b"\n",
    "NaN": b'[{"stage": NaN}]\n',
    "wrong types": b'[{"stage": "one", "method": 3, "split": [], "direction": {}, "metrics": 1}]\n',
    "huge": b'[{"stage": "one", "step": 1e999}]\n',
    "stages of another kind": b'{"one": 3, "two": null}\n',
    "record of wrong types": b'{"stage": "one", "step": "many", "loss": "low"}\n',
    "record with a text for a loss": b'{"stage": "one", "step": 1, "split": "train", "loss": "low"}\n',
}
FILES = ("config.yaml", "results.json", "progress.json", "metrics.jsonl")


@pytest.fixture(scope="module")
def arguments(tiny_run):
    return read_arguments(tiny_run / "config.yaml")


@pytest.fixture(scope="module")
def fingerprint(splits, arguments):
    return data_fingerprint(splits, arguments), model_fingerprint(*load_base(arguments))


@pytest.fixture
def run(tiny_run, tmp_path) -> RunFolder:
    shutil.copytree(tiny_run, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def readers(run: RunFolder, arguments, fingerprint, target: Path) -> dict[str, Callable[[], object]]:
    arguments.resume = "auto"
    stages = {"one": None, "two": None}
    return {
        "resume: settings": lambda: run.take(arguments),
        "resume: where": lambda: resume_point(run, CheckpointStore(run.checkpoints, True), *fingerprint),
        "resume: logs": lambda: run.reopen().close(),
        "record": lambda: run.record([]),
        "evaluate": lambda: read_results(run.results),
        "curves": lambda: run.draw_curves(),
        "push": lambda: write_content(run.path, target / "pushed", "me/model"),
        "card": lambda: write_run_card(
            run, arguments, {name: stage_result(run.finished()[name]) for name in stages if name in run.finished()}
        ),
    }


def test_a_whole_run_satisfies_every_reader(run, arguments, fingerprint, tmp_path):
    for read in readers(run, arguments, fingerprint, tmp_path).values():
        read()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [*DAMAGES, "folder"])
def test_damage_is_answered_in_words(run, arguments, fingerprint, tmp_path, name, damage):
    path = run.path / name
    refused = []
    for reader, read in readers(run, arguments, fingerprint, tmp_path).items():
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.mkdir() if damage == "folder" else path.write_bytes(DAMAGES[damage])
        try:
            read()
        except (OSError, ValueError) as error:
            assert name in str(error) or str(run.path) in str(error), (reader, error)
            assert len(str(error)) < 1500
            refused.append(reader)
    harmless = {"results.json": ("list",), "metrics.jsonl": ("empty",), "config.yaml": ()}
    if damage not in harmless.get(name, ()):
        assert refused


@pytest.mark.parametrize("wrong", [None, "x", [], {}, -1, 1.5, True, {"a": {"b": [[]]}}])
@pytest.mark.parametrize("name", FILES)
def test_every_field_of_a_wrong_type_is_answered_in_words(
    run, arguments, fingerprint, tmp_path, monkeypatch, name, wrong
):
    for kind in ("SafeLoader", "SafeDumper"):  # those in C are ten times as fast, where libyaml is
        monkeypatch.setattr(yaml, kind, getattr(yaml, f"C{kind}", getattr(yaml, kind)))
    path = run.path / name
    whole = path.read_text()
    load = yaml.safe_load if name.endswith("yaml") else json.loads
    text = whole.splitlines()[0] if name == "metrics.jsonl" else whole
    value = load(text)
    record = value[-1] if isinstance(value, list) else value["one"] if name == "progress.json" else value
    chosen = {
        "config.yaml": ["resume: settings", "push"],
        "results.json": ["record", "evaluate", "push", "card"],
        "progress.json": ["resume: where"],
        "metrics.jsonl": ["resume: logs"],
    }[name]
    for field in list(record):
        before = record[field]
        record[field] = wrong
        path.write_text(yaml.safe_dump(value) if name.endswith("yaml") else json.dumps(value) + "\n")
        record[field] = before
        for reader in chosen:
            shutil.rmtree(tmp_path / "pushed", ignore_errors=True)
            try:
                readers(run, arguments, fingerprint, tmp_path)[reader]()
            except (OSError, ValueError) as error:
                assert str(run.path) in str(error), (field, reader, error)


@pytest.mark.parametrize("damage", [*DAMAGES, "folder"])
def test_a_damaged_checkpoint_json_is_passed_over(tmp_path, caplog, damage):
    store = CheckpointStore(tmp_path / "checkpoints", writer=True)
    for step in (1, 2):
        store.save("one", step, lambda folder: (folder / "state.pt").write_bytes(b"x"), {"best_step": 0})
    path = store.state("one", 2) / FACTS
    path.unlink()
    path.mkdir() if damage == "folder" else path.write_bytes(DAMAGES[damage])
    assert store.newest().step == 1
    assert FACTS in caplog.text
