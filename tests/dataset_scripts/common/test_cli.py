import importlib
import logging
import os
import subprocess
import sys
import types
from importlib import metadata

import pytest
from transformers.utils import logging as transformers_logging

from dataset_scripts.common import __version__, cli


@pytest.fixture(autouse=True)
def keep_verbosity():
    before = transformers_logging.get_verbosity()
    yield
    transformers_logging.set_verbosity(before)


@pytest.fixture
def verb(monkeypatch):
    """Makes `prompt-clip fake` run a function."""

    def install(function):
        monkeypatch.setitem(sys.modules, "fake_verb", types.SimpleNamespace(main=function))
        monkeypatch.setitem(cli.VERBS, "fake", cli.Verb("fake_verb:main", "does this"))

    return install


def fails_with(error):
    def function(argv):
        raise error

    return function


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_the_overview_names_every_verb_and_shows_examples(argv, capsys):
    assert cli.main(argv) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for name, entry in cli.VERBS.items():
        assert f"  {name} " in out
        assert entry.help in out
    assert "examples:\n  prompt-clip demo\n" in out


def test_the_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"prompt-clip {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "advice"),
    [
        (["serach", "x"], "did you mean 'search'?"),
        (["xyzzy"], "choose one of demo, train, evaluate, search, convert, export, push, data, env"),
    ],
)
def test_an_unknown_verb_is_wrong_use(argv, advice, capsys):
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"prompt-clip: error: unknown verb {argv[0]!r}; {advice}\n"


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (3, 3)])
def test_a_verb_gets_its_arguments_and_gives_the_status(verb, returned, status):
    got = []
    verb(lambda argv: got.append(argv) or returned)
    assert cli.main(["fake", "MODEL", "--help", "-x"]) == status
    assert got == [["MODEL", "--help", "-x"]]


def test_the_arguments_are_those_of_the_process(verb, monkeypatch):
    got = []
    verb(got.append)
    monkeypatch.setattr(sys, "argv", ["prompt-clip", "fake", "--top", "3"])
    assert cli.main() == 0
    assert got == [["--top", "3"]]


@pytest.mark.parametrize("error", [ValueError("top=0\n  is too  low"), TypeError("top=0 is too low")])
def test_an_error_is_one_line(verb, error, capsys):
    verb(fails_with(error))
    assert cli.main(["fake"]) == 1
    assert capsys.readouterr() == ("", "prompt-clip fake: error: top=0 is too low\n")


def test_a_missing_file_is_named(verb, capsys):
    verb(lambda argv: open("no/such/file"))
    assert cli.main(["fake"]) == 1
    assert "prompt-clip fake: error: [Errno 2] No such file or directory: 'no/such/file'\n" == capsys.readouterr().err


def test_an_error_without_words_still_says_something(verb, capsys):
    verb(fails_with(ValueError()))
    assert cli.main(["fake"]) == 1
    assert capsys.readouterr().err == "prompt-clip fake: error: ValueError\n"


@pytest.mark.parametrize(
    ("typed", "passed"),
    [
        (["RUN", "--adapter-only", "--repo", "me/a-b"], ["RUN", "--adapter_only", "--repo", "me/a-b"]),
        (["--output-dir=runs/a-b", "-v"], ["--output_dir=runs/a-b", "-v"]),
        (["--json", "--", "--a-b"], ["--json", "--", "--a-b"]),
        ([], []),
    ],
)
def test_options_may_be_written_with_hyphens(verb, typed, passed):
    found = []
    verb(lambda arguments: found.extend(arguments))
    assert cli.main(["fake", *typed]) == 0
    assert found == passed


def test_the_traceback_is_shown_on_request(verb, capsys, monkeypatch):
    monkeypatch.setenv("PROMPT_CLIP_TRACEBACK", "1")
    verb(fails_with(ValueError("wrong")))
    assert cli.main(["fake"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "prompt-clip fake: error: wrong"


def test_a_bug_is_not_hidden(verb):
    verb(fails_with(AttributeError("a bug")))
    with pytest.raises(AttributeError, match="a bug"):
        cli.main(["fake"])


def test_an_interrupt_is_130(verb, capsys):
    verb(fails_with(KeyboardInterrupt()))
    assert cli.main(["fake"]) == 130
    assert capsys.readouterr() == ("", "prompt-clip fake: error: interrupted\n")


@pytest.mark.parametrize(
    ("module", "extra"), [("datasets.features", "train"), ("pyarrow.parquet", "train"), ("onnx", "export")]
)
def test_a_missing_extra_is_named(verb, module, extra, capsys):
    verb(fails_with(ModuleNotFoundError(f"No module named {module!r}", name=module)))
    assert cli.main(["fake"]) == 1
    assert capsys.readouterr().err == (
        f'prompt-clip fake: error: {module} is not installed; run pip install -e ".[{extra}]" in a checkout of '
        "PromptCLIP\n"
    )


def test_a_missing_module_of_ours_is_a_bug(verb):
    verb(fails_with(ModuleNotFoundError("No module named 'trainers.nothing'", name="trainers.nothing")))
    with pytest.raises(ModuleNotFoundError):
        cli.main(["fake"])


def test_transformers_is_quiet_unless_asked(verb, monkeypatch):
    monkeypatch.setattr(transformers_logging, "_tqdm_active", True)
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    transformers_logging.set_verbosity_warning()
    verb(lambda argv: None)
    cli.main(["fake"])
    assert transformers_logging.get_verbosity() == logging.ERROR
    assert not transformers_logging.is_progress_bar_enabled()
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "info")
    transformers_logging.set_verbosity_info()
    cli.main(["fake"])
    assert transformers_logging.get_verbosity() == logging.INFO


@pytest.mark.parametrize("name", cli.VERBS)
def test_every_verb_leads_to_a_function(name):
    module, function = cli.VERBS[name].target.split(":")
    assert callable(getattr(importlib.import_module(module), function))


def process(code: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def test_the_console_script_is_this_module():
    (script,) = metadata.entry_points(group="console_scripts", name="prompt-clip")
    assert script.load() is cli.main


@pytest.mark.parametrize(("argv", "status"), [(["--help"], 0), (["--version"], 0), (["serach"], 2), (["data"], 0)])
def test_help_and_wrong_use_come_at_once(argv, status):
    """Nothing is imported that takes seconds: neither the packages of verbs nor torch, transformers and PEFT."""
    done = process(
        "import sys; from dataset_scripts.common.cli import main; status = main(sys.argv[1:]);"
        f"status = main({argv!r}); heavy = ('trainers', 'modeling_prompt_clip', 'torch', 'peft', 'datasets');"
        "sys.exit(','.join(name for name in heavy if name in sys.modules) or status)"
    )
    assert done.returncode == status, done.stderr
    assert "prompt-clip" in done.stdout + done.stderr


def test_a_process_talks_on_stderr():
    done = process(
        "import logging, sys, types\n"
        "from dataset_scripts.common import cli\n"
        "def verb(argv):\n"
        "    logging.getLogger('trainers.x').info('told')\n"
        "    logging.getLogger('other').info('not told')\n"
        "sys.modules['fake_verb'] = types.SimpleNamespace(main=verb)\n"
        "cli.VERBS['fake'] = cli.Verb('fake_verb:main', '')\n"
        "sys.exit(cli.main(['fake']))\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "told\n")
