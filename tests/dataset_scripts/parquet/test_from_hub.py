"""Loading from a Hub of the test's own: the rows that were pushed, or clear words why not."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from dataset_scripts import load_person_search
from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES
from dataset_scripts.parquet import load_from_hub, push_dataset

REPO = "alice/tiny-set"


@pytest.fixture
def online(hub, monkeypatch, tmp_path):
    """The Hub of the test, which `datasets` in this process talks to as well."""
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", hub.url)
    monkeypatch.setattr(datasets.config, "HUB_DATASETS_URL", hub.url + "/datasets/{repo_id}/resolve/{revision}/{path}")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets_cache")
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", tmp_path / "downloads")
    return hub


@pytest.mark.parametrize("streaming", [False, True])
def test_the_same_rows_in_the_same_order(online, splits, converted, tmp_path, streaming):
    push_dataset(converted, REPO)
    loaded = load_from_hub(REPO, streaming=streaming, cache_dir=tmp_path / "cache")
    assert isinstance(loaded, datasets.IterableDatasetDict if streaming else datasets.DatasetDict)
    for split, dataset in splits.items():
        assert loaded[split].features == PERSON_SEARCH_FEATURES
        assert list(loaded[split]) == list(dataset)
    test = load_person_search(REPO, split="test", streaming=streaming, cache_dir=tmp_path / "cache")
    assert list(test) == list(splits["test"])


def test_one_split_is_downloaded_alone(online, splits, converted, tmp_path):
    push_dataset(converted, REPO)
    assert list(load_from_hub(REPO, "test", cache_dir=tmp_path / "cache")) == list(splits["test"])
    asked = [request.path for request in online.requests if "/resolve/" in request.path]
    assert any("data/test-" in path for path in asked) and not any("data/train-" in path for path in asked)


def test_a_fresh_process_without_this_package(hub, splits, converted, tmp_path):
    push_dataset(converted, REPO)
    script = f"""
import hashlib, json, sys
from datasets import load_dataset
rows = []
for streaming in (False, True):
    for split, dataset in load_dataset({REPO!r}, streaming=streaming).items():
        for row in dataset:
            image = row.pop("image")
            rows.append([split, image.mode, image.size, hashlib.sha256(image.tobytes()).hexdigest(), row])
assert not [name for name in sys.modules if name.startswith("dataset_scripts")]
print(json.dumps(rows))
"""
    environment = {**os.environ, **hub.environment(str(tmp_path / "home"))}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    expected = []
    for split, dataset in splits.items():
        for row in dataset:
            image = row.pop("image")
            expected.append([split, image.mode, list(image.size), hashlib.sha256(image.tobytes()).hexdigest(), row])
    assert json.loads(done.stdout) == expected * 2


def test_a_new_commit_is_seen_and_an_old_one_can_be_asked_for(online, splits, converted, tmp_path):
    first = push_dataset(converted, REPO)
    assert list(load_from_hub(REPO)) == ["train", "validation", "test"]
    files = online.repository("dataset", REPO).commits[-1].files
    left = {path: file for path, file in files.items() if path.startswith("data/test")}
    online.add_commit("dataset", REPO, left, "test split alone")
    assert list(load_from_hub(REPO)) == ["test"]
    assert list(load_from_hub(REPO, revision=first.commit)) == ["train", "validation", "test"]


def test_a_hub_that_fails_is_no_reason_to_take_an_old_copy(online, converted):
    push_dataset(converted, REPO)
    load_from_hub(REPO, "train")
    online.add_commit("dataset", REPO, {}, "emptied")
    online.fail("/resolve/", status=500, times=1000)
    with pytest.raises(OSError, match=rf"^{REPO} cannot be loaded: "):
        load_from_hub(REPO, "train")


def test_a_set_of_others_with_more_columns(online, splits, tmp_path):
    rows = splits["test"].cast_column("image", datasets.Image()).add_column("weather", ["dry"] * 4)
    rows = rows.cast_column("person_id", datasets.Value("int32"))
    rows.to_parquet(tmp_path / "test.parquet")
    online.add_repository("dataset", "bob/set", {"test.parquet": (tmp_path / "test.parquet").read_bytes()})
    for streaming in (False, True):
        loaded = load_from_hub("bob/set", "test", streaming=streaming)
        assert loaded.features == PERSON_SEARCH_FEATURES
        assert list(loaded) == list(splits["test"])
        stored = next(iter(loaded.with_format("arrow").iter(batch_size=4)))
        assert stored.schema.field("person_id").type == pa.int64()
    rows.remove_columns(["captions", "camera"]).to_parquet(tmp_path / "test.parquet")
    online.add_repository("dataset", "bob/bare", {"test.parquet": (tmp_path / "test.parquet").read_bytes()})
    with pytest.raises(ValueError, match="bob/bare, test has no column captions, camera"):
        load_from_hub("bob/bare", "test")


@pytest.mark.parametrize("streaming", [False, True])
def test_a_split_goes_by_the_name_of_others(online, splits, tmp_path, streaming):
    shards = {}
    for name, split in (("dev", "validation"), ("val", "test")):
        splits[split].cast_column("image", datasets.Image()).to_parquet(tmp_path / name)
        shards[name] = (tmp_path / name).read_bytes()
    paths = {name: f"{name}.parquet" for name in shards}
    cards = {
        repo: datasets_card({name: paths[name] for name in names})
        for repo, names in (("bob/one", ["val"]), ("bob/two", ["dev", "val"]))
    }
    for repo, card in cards.items():
        online.add_repository("dataset", repo, {"README.md": card} | {paths[name]: shards[name] for name in shards})
    loaded = load_from_hub("bob/one", "validation", streaming=streaming)
    assert list(loaded) == list(splits["test"])
    for split in ("validation", None):
        with pytest.raises(ValueError, match="bob/two names the validation split in two ways: dev and val"):
            load_from_hub("bob/two", split, streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("settings", ["README.md", ".huggingface.yaml"])
@pytest.mark.parametrize(
    "place",
    [
        *(
            "{hub}/elsewhere/test.parquet",
            "zip://test.parquet::{hub}/elsewhere/a.zip",
            "hf://datasets/bob/two/x.parquet",
        ),
        *("{here}/test.parquet", "file://{here}/test.parquet", "../../bob/two/test.parquet", "~/test.parquet"),
    ],
)
def test_no_file_outside_the_repository_is_asked_for(online, tmp_path, place, settings, streaming):
    place = place.format(hub=online.url, here=tmp_path)
    card = datasets_card({"test": json.dumps(place)})
    card = b"\n" + card.replace(b"default", b"a---b") if settings == "README.md" else card.strip(b"-\n")
    online.add_repository("dataset", "bob/set", {settings: card, "train.parquet": b"no Parquet"})
    with pytest.raises(ValueError, match=f"bob/set: {settings} names the data file .*which is not in the repository"):
        load_from_hub("bob/set", "test", streaming=streaming)
    assert not [request.path for request in online.requests if "elsewhere" in request.path or "two" in request.path]


def datasets_card(files: dict[str, str]) -> bytes:
    lines = [f"  - split: {split}\n    path: {path}\n" for split, path in files.items()]
    return f"---\nconfigs:\n- config_name: default\n  data_files:\n{''.join(lines)}---\n".encode()


def test_what_cannot_be_had(online, converted, tmp_path, monkeypatch):
    push_dataset(converted, REPO)
    for arguments, error, word in [
        (("alice/none",), OSError, r"^alice/none cannot be loaded: HTTP status 404.*\. There is no such repository"),
        ((REPO, "val"), ValueError, "val"),
    ]:
        with pytest.raises(error, match=word):
            load_from_hub(*arguments)
    with pytest.raises(OSError, match=r"HTTP status 404.*no such repository or revision"):
        load_from_hub(REPO, revision="v2")
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    with pytest.raises(OSError, match=r"HTTP status 404.*or it is private"):
        load_from_hub(REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    with pytest.raises(OSError, match=r"HTTP status 401.*hf auth login"):
        load_from_hub(REPO)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="HF_HUB_OFFLINE is set"):
        load_from_hub("alice/never-loaded")


def test_a_lost_connection(online, converted):
    push_dataset(converted, REPO)
    online.drop("/api/datasets/", times=1000)
    with pytest.raises(OSError, match="the connection to the Hub failed or was lost"):
        load_from_hub(REPO)


def test_the_cached_copy_is_used_offline(online, splits, converted, monkeypatch):
    push_dataset(converted, REPO)
    load_from_hub(REPO)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    count = len(online.requests)
    assert list(load_from_hub(REPO, "test")) == list(splits["test"])
    assert len(online.requests) == count


def test_a_folder_of_the_same_name(online, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(REPO).mkdir(parents=True)
    with pytest.raises(ValueError, match=f"{REPO} is a folder here"):
        load_from_hub(REPO)
