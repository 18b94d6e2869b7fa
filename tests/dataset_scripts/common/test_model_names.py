"""A path that leads nowhere is answered here; a Hub id is left to the Hub."""

import sys
from pathlib import Path

import pytest

from dataset_scripts.common.installing import command_name
from dataset_scripts.common.model_names import check_local_name, tokenizer_source


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "best.pth").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("runs/demo2", "Did you mean 'runs/demo'?"),
        ("./runs/dem", "Did you mean 'runs/demo'?"),
        ("../nothing", "is no folder here"),
        ("/nowhere/at/all", "is no folder here"),
        ("a/b/c", "is no folder here"),
        ("C:\\models\\clip", "is no folder here"),
        ("my model", "is no folder here"),
    ],
)
def test_what_looks_like_a_path(here: Path, name: str, advice: str):
    with pytest.raises(FileNotFoundError) as caught:
        check_local_name(name, "model")
    assert repr(name) in str(caught.value) and advice in str(caught.value)


@pytest.mark.parametrize("name", ["openai/clip-vit-base-patch16", "gpt2", "my-lab/model.v2"])
def test_what_may_be_a_hub_id(here: Path, name: str):
    check_local_name(name, "model")
    assert tokenizer_source(name) == name


def test_a_file_is_no_model(here: Path):
    with pytest.raises(NotADirectoryError, match=r"model 'best.pth' is a file; .*prompt-clip convert"):
        check_local_name("best.pth", "model")


def test_the_stand_in_has_a_tokenizer():
    assert (Path(tokenizer_source("stand-in")) / "tokenizer.json").is_file()


def test_how_the_command_is_typed(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(here / ".venv" / "bin" / "python"))
    assert command_name() == f"{sys.executable} -m modeling_prompt_clip.cli"
    (here / ".venv" / "bin").mkdir(parents=True)
    script = here / ".venv" / "bin" / "prompt-clip"
    script.touch(mode=0o755)
    assert command_name() == ".venv/bin/prompt-clip"
    monkeypatch.chdir(here / "runs")
    assert command_name() == str(script)
    monkeypatch.setenv("PATH", str(script.parent))
    assert command_name() == "prompt-clip"
