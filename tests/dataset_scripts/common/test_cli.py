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
        monkeypatch.setitem(sys.modules, "fake_verb", types.SimpleNamespace(main=function, parse=lambda argv: None))
        monkeypatch.setitem(cli.VERBS, "fake", cli.Verb("fake_verb", "fake_verb", "does this"))

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


@pytest.mark.parametrize("argv", [["data"], ["data", "--help"], ["data", "-h"]])
def test_the_overview_of_two_word_verbs(argv, capsys):
    assert cli.main(argv) == 0
    out, err = capsys.readouterr()
    assert err == "" and out.startswith("usage: prompt-clip data VERB")
    assert all(f"  {name} " in out for name in ("data check", "data convert", "data push"))
    assert "train" not in out.partition("examples:")[0].partition("verbs:")[2]


def test_the_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"prompt-clip {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "advice"),
    [
        (["serach", "x"], "Did you mean 'search'?"),
        (["xyzzy"], "Choose one of demo, train, evaluate, search, convert, export, push, data, env, completion."),
        (["check"], "Did you mean 'data check'?"),
        (["data", "chek"], "Did you mean 'check'?"),
        (["data", "xyz"], "Choose one of check, convert, push."),
    ],
)
def test_an_unknown_verb_is_wrong_use(argv, advice, capsys):
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    program = " ".join(["prompt-clip", *argv[: 1 if argv[0] == "data" else 0]])
    word = argv[1] if argv[0] == "data" else argv[0]
    assert err == f"{program}: error: unknown verb {word!r}. {advice}\n"


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


@pytest.mark.filterwarnings("ignore:Cannot enable progress bars:UserWarning")  # the Hub's, which stay off
def test_transformers_is_quiet_unless_asked(verb, monkeypatch):
    transformers_logging.enable_progress_bar()
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
    assert callable(importlib.import_module(cli.VERBS[name].command).main)


@pytest.mark.parametrize("name", cli.VERBS)
def test_the_help_of_every_verb_names_it_and_shows_examples(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([*name.split(), "--help"])
    out = capsys.readouterr().out
    assert stopped.value.code == 0 and f"usage: prompt-clip {name}" in out
    assert "prompt-clip" in out.partition("examples:\n")[2]


def test_names_that_parsers_repeat_are_those_of_the_code():
    from dataset_scripts.common.parsers import convert
    from modeling_prompt_clip.conversion import convert as conversion
    from modeling_prompt_clip.conversion.families import ACTIVATIONS, NORMALIZATIONS
    from modeling_prompt_clip.conversion.tokenizer_file import CAPTION_RULES
    from modeling_prompt_clip.retrieval import KS, RERANKINGS
    from trainers.commands.parsers import evaluate

    assert convert.TOKENIZER == conversion.OPENAI_TOKENIZER
    assert convert.CHOICES == {
        "activation": tuple(ACTIVATIONS),
        "normalization": tuple(NORMALIZATIONS),
        "resample": tuple(conversion.RESAMPLES),
        "captions": tuple(CAPTION_RULES),
    }
    assert (evaluate.KS, evaluate.RERANKINGS) == (tuple(KS), tuple(RERANKINGS))


def process(code: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def test_the_console_script_is_this_module():
    (script,) = metadata.entry_points(group="console_scripts", name="prompt-clip")
    assert script.load() is cli.main


def test_help_and_wrong_use_come_at_once():
    """Nothing is imported that takes seconds; `train` alone needs transformers, for the options of its settings."""
    calls = [["--help"], ["--version"], ["serach"], ["data"], ["data", "chek"]]
    calls += [[*name.split(), end] for name in cli.VERBS if name != "train" for end in ("--help", "--no_such_option")]
    done = process(
        "import sys; from dataset_scripts.common.cli import main\n"
        "def heavy(*names): return [name for name in names if name in sys.modules]\n"
        "def run(argv):\n"
        "    try: return main(argv)\n"
        "    except SystemExit as stopped: return stopped.code\n"
        f"for argv in {calls!r}:\n"
        "    status = run(argv)\n"
        "    assert status == (0 if argv[-1] in ('--help', '--version', 'data') else 2), argv\n"
        "    assert not heavy('modeling_prompt_clip', 'torch', 'peft', 'datasets', 'transformers'), argv\n"
        "for end in ('--help', '--no_such_option'):\n"
        "    run(['train', end])\n"
        "    assert not heavy('modeling_prompt_clip', 'torch', 'peft', 'datasets'), end\n"
    )
    assert done.returncode == 0, done.stderr


def test_a_process_talks_on_stderr():
    done = process(
        "import logging, sys, types\n"
        "from dataset_scripts.common import cli\n"
        "def verb(argv):\n"
        "    logging.getLogger('trainers.x').info('told')\n"
        "    logging.getLogger('other').info('not told')\n"
        "sys.modules['fake_verb'] = types.SimpleNamespace(main=verb, parse=lambda argv: None)\n"
        "cli.VERBS['fake'] = cli.Verb('fake_verb', 'fake_verb', '')\n"
        "sys.exit(cli.main(['fake']))\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "told\n")


@pytest.mark.parametrize("argv", [["-V"], ["version"]])
def test_the_version_by_other_names(argv, capsys):
    assert cli.main(argv) == 0 and capsys.readouterr().out == f"prompt-clip {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "start"),
    [
        (["help"], "usage: prompt-clip VERB"),
        (["help", "search"], "usage: prompt-clip search"),
        (["search", "help"], "usage: prompt-clip search"),
        (["data", "help"], "usage: prompt-clip data VERB"),
        (["help", "data", "check"], "usage: prompt-clip data check"),
        (["help", "export"], "usage: prompt-clip export"),
        (["help", "train"], "usage: prompt-clip train"),
    ],
)
def test_help_before_or_after_a_verb(argv, start, capsys):
    try:
        assert cli.main(argv) == 0
    except SystemExit as stop:
        assert stop.code == 0
    assert capsys.readouterr().out.startswith(start)


@pytest.mark.parametrize(
    ("argv", "advice"),
    [
        (
            ["search", "runs/demo", "--galery", "photos", "a man"],
            "unknown option '--galery'. Did you mean '--gallery'?",
        ),
        (["evaluate", "runs/demo", "--splt=test"], "unknown option '--splt'. Did you mean '--split'?"),
        (["data", "check", "x", "--tokeniser", "y"], "unknown option '--tokeniser'. Did you mean '--tokenizer'?"),
        (["convert", "a.pt", "b", "--headwidth", "64"], "unknown option '--headwidth'. Did you mean '--head_width'?"),
        (["export", "m", "--ouput", "x"], "unknown option '--ouput'. Did you mean '--output'?"),
        (["push", "runs/demo", "--rpo", "a/b"], "unknown option '--rpo'. Did you mean '--repo'?"),
        (["demo", "--sed", "3"], "unknown option '--sed'. Did you mean '--seed'?"),
        (["train", "--cofig", "x"], "unknown option '--cofig'; did you mean --config?"),
        (["search", "m", "--gallery", "g", "x", "--\x1b[31m"], "unrecognized arguments: --\\x1b[31m"),
    ],
)
def test_a_misspelt_option_is_answered_with_the_nearest(argv, advice, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and advice in error
    assert all(sign.isprintable() or sign == "\n" for sign in error)


def test_options_may_still_be_shortened(capsys):
    with pytest.raises(SystemExit):
        cli.main(["search", "m", "--gal", "x"])
    assert "required: SENTENCE" in capsys.readouterr().err
