"""Every benchmark of `make bench` is a module that starts, and its record names the command that ran it."""

import importlib
import json
import re
import subprocess
import sys

import pytest

from benchmarks import record


def modules_of_make_bench():
    told = subprocess.run(["make", "-n", "bench"], cwd=record.ROOT, capture_output=True, text=True, check=True).stdout
    return re.search(r"for module in (.*?);", told)[1].split()


@pytest.mark.parametrize("name", modules_of_make_bench())
def test_make_bench_runs_modules_that_there_are(name):
    assert callable(importlib.import_module(name).main)


def test_no_benchmark_is_left_out():
    rooms = {path.parent.name for path in (record.ROOT / "benchmarks").glob("*/*.py")} - {"stand_in"}
    assert {name.split(".")[1] for name in modules_of_make_bench()} == rooms


def test_a_record_names_its_command(monkeypatch, tmp_path, capsys):
    script = record.ROOT / "benchmarks" / "speed" / "speed_ups.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--rounds", "2"])
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    record.write_record("speed_ups", "How fast?", ("torch",), cases=[1])
    written = json.loads((tmp_path / "speed_ups.json").read_text())
    assert written == json.loads(capsys.readouterr().out)
    assert written["command"] == "python -m benchmarks.speed.speed_ups --rounds 2" and written["cases"] == [1]
