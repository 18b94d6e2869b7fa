"""`prompt-clip env` tells what a run stands on, and nothing of whom it belongs to."""

import getpass
import itertools
import json
import platform
import socket
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from modeling_prompt_clip import __version__, cli
from modeling_prompt_clip.commands import env


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(env, "SIZE", 8)


def test_the_answer_as_json(capsys):
    assert cli.main(["env", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["prompt-clip"], found["python"]) == (__version__, platform.python_version())
    assert found["packages"]["torch"] == version("torch")
    assert "cpu" in found["devices"] and found["threads"] == torch.get_num_threads()
    assert found["bf16_speed"].keys() == found["devices"].keys()
    assert all(speed > 0 for speed in found["bf16_speed"].values())


def test_what_is_not_installed_is_said(monkeypatch, capsys):
    monkeypatch.setattr(env, "PACKAGES", ("torch", "no-such-package-of-ours"))
    assert cli.main(["env"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["no-such-package-of-ours", "not installed"] in lines and ["torch", version("torch")] in lines


def test_bf16_is_compared_with_float32(monkeypatch):
    times = itertools.accumulate(itertools.cycle([0.0, 6.0, 0.0, 2.0]))  # before and after each precision, in turns
    monkeypatch.setattr(env, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    assert env.environment()["bf16_speed"]["cpu"] == 3.0


def test_nothing_of_the_machine_s_owner(capsys):
    cli.main(["env"])
    printed = capsys.readouterr().out
    for private in (str(Path.home()), str(Path.cwd()), socket.gethostname(), f" {getpass.getuser()} "):
        assert private not in printed
