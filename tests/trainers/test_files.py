import json
import math
import os
from pathlib import Path

import pytest

from trainers.files import without_non_finite, write_atomically, write_json


def test_json_round_trip_makes_folders_and_leaves_nothing_else(tmp_path: Path):
    path = tmp_path / "new" / "deep" / "results.json"
    value = {"name": "Übersicht", "scores": [1.5, 2], "none": None}
    write_json(path, {"old": True})
    write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == value
    assert path.read_text(encoding="utf-8").startswith('{\n  "name": "Übersicht"')
    assert os.listdir(path.parent) == ["results.json"]


def test_non_finite_numbers_become_null_at_any_depth(tmp_path: Path):
    value = {"a": math.nan, "b": [1.0, {"c": (math.inf, -math.inf, 2)}]}
    expected = {"a": None, "b": [1.0, {"c": [None, None, 2]}]}
    assert without_non_finite(value) == expected
    write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text()) == expected


def test_a_value_that_is_not_json_leaves_the_old_file(tmp_path: Path):
    write_json(tmp_path / "x.json", [1])
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", [object()])
    assert json.loads((tmp_path / "x.json").read_text()) == [1]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failure_midway_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
):
    path = tmp_path / "weights.bin"
    write_atomically(path, b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new and longer")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["weights.bin"]


def test_content_is_on_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (events.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda old, new: (events.append("replace"), replace(old, new)))
    write_atomically(tmp_path / "a", b"x")
    assert events == ["fsync", "replace", "fsync"]
