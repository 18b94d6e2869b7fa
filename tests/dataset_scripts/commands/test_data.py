"""`prompt-clip data`: the table of its verbs."""

import importlib
import subprocess
import sys
import types

import pytest

from dataset_scripts.commands import data
from modeling_prompt_clip import cli


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_the_overview_names_every_verb(argv: list[str], capsys: pytest.CaptureFixture):
    assert data.main(argv) == 0
    out, err = capsys.readouterr()
    assert not err and out.startswith("usage: prompt-clip data VERB") and out.endswith("\n")
    for verb, (_, about) in data.VERBS.items():
        assert f"  {verb}" in out and about in out and f"prompt-clip data {verb}" in out


@pytest.mark.parametrize("verb", data.VERBS)
def test_every_verb_leads_to_a_function_with_help(verb: str, capsys: pytest.CaptureFixture):
    assert callable(importlib.import_module(data.VERBS[verb][0]).main)
    with pytest.raises(SystemExit) as caught:
        data.main([verb, "--help"])
    assert caught.value.code == 0 and f"usage: prompt-clip data {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verb", "advice"), [("chek", "Did you mean 'check'?"), ("xyz", "one of check, convert, push")]
)
def test_an_unknown_verb_is_wrong_use(verb: str, advice: str, capsys: pytest.CaptureFixture):
    assert data.main([verb]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith(f"prompt-clip data: error: unknown verb '{verb}'") and advice in err


def test_a_verb_gets_the_rest_and_gives_the_status(monkeypatch: pytest.MonkeyPatch):
    got = []
    monkeypatch.setitem(sys.modules, "fake_verb", types.SimpleNamespace(main=lambda argv: got.append(argv) or 7))
    monkeypatch.setitem(data.VERBS, "fake", ("fake_verb", "does this"))
    assert data.main(["fake", "DIR", "--json"]) == 7
    monkeypatch.setattr(sys, "argv", ["prompt-clip data", "fake", "x"])
    assert data.main() == 7
    assert cli.main(["data", "fake", "y"]) == 7
    assert got == [["DIR", "--json"], ["x"], ["y"]]


def test_the_overview_imports_nothing_heavy():
    code = "import sys; from dataset_scripts.commands.data import main; main([]); sys.exit('datasets' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
