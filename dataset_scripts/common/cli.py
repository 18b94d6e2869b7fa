"""`prompt-clip VERB ...`: one table of verbs, imported only when called.

A verb is two modules. `parser` has `parser()`, its argparse parser, and `parse(argv)`, which exits with status 2 on
wrong use; it imports no torch, so that help and errors come at once. `command` has `main(argv)`, which does the work
and returns an exit status or None. A verb writes its answer to stdout and everything else to stderr. Exit status:
0 success, 1 failure, 2 wrong use, 130 interrupted.
"""

import importlib
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dataset_scripts.common import __version__
from dataset_scripts.common.files import refused_by_system
from dataset_scripts.common.installing import install_hint
from dataset_scripts.common.text.printable import one_line, printable
from dataset_scripts.common.text.suggest import did_you_mean

__all__ = ["VERBS", "Verb", "main"]


class Verb(NamedTuple):
    """The modules of a verb, and its one line of help."""

    command: str
    parser: str
    help: str


VERBS = {
    "demo": Verb(
        "trainers.commands.demo",
        "trainers.commands.parsers.demo",
        "do the whole job on a synthetic set: train, compare, search",
    ),
    "train": Verb(
        "trainers.commands.train",
        "trainers.commands.parsers.train",
        "train by a recipe: first prompts, then CLIP with the prompts fixed",
    ),
    "evaluate": Verb(
        "trainers.commands.evaluate",
        "trainers.commands.parsers.evaluate",
        "measure R@1, R@5, R@10, mAP and mINP of a model on a data set",
    ),
    "search": Verb(
        "modeling_prompt_clip.commands.search",
        "dataset_scripts.common.parsers.search",
        "find the images of a folder that fit a sentence",
    ),
    "convert": Verb(
        "modeling_prompt_clip.commands.convert",
        "dataset_scripts.common.parsers.convert",
        "turn a checkpoint of CLIP or IRRA into a model folder",
    ),
    "export": Verb(
        "modeling_prompt_clip.commands.export",
        "dataset_scripts.common.parsers.export",
        "write both towers as ONNX, compared with torch",
    ),
    "push": Verb(
        "trainers.commands.push",
        "trainers.commands.parsers.push",
        "publish a run on the Hub: weights, code, card and figures",
    ),
    "data check": Verb(
        "dataset_scripts.commands.check",
        "dataset_scripts.commands.parsers.check",
        "find out what a folder holds and what is wrong with it",
    ),
    "data convert": Verb(
        "dataset_scripts.commands.convert",
        "dataset_scripts.commands.parsers.convert",
        "store a data set as verified Parquet files, with the images inside",
    ),
    "data push": Verb(
        "dataset_scripts.commands.push",
        "dataset_scripts.commands.parsers.push",
        "upload a converted set to the Hub, with its card",
    ),
    "env": Verb(
        "modeling_prompt_clip.commands.env",
        "dataset_scripts.common.parsers.env",
        "show versions, devices and the precision that is faster here",
    ),
    "completion": Verb(
        "dataset_scripts.common.completion",
        "dataset_scripts.common.completion",
        "print a script that completes verbs and options in your shell",
    ),
}
"""Verbs as they are typed, of one word or two."""

ABOUT = {
    "": "Find people by sentence, with CLIP adapted in two stages.",
    "data": "Check a data set, convert it and publish it, before you train on it.",
}
"""One line about `prompt-clip`, and about each first word of two-word verbs."""

EXAMPLES = (
    "prompt-clip demo",
    "prompt-clip data check CUHK-PEDES",
    "prompt-clip data convert CUHK-PEDES cuhk-parquet",
    "prompt-clip data push cuhk-parquet --repo my-lab/cuhk-pedes",
    "prompt-clip train --config cuhk_pedes --data_dir CUHK-PEDES",
    "prompt-clip evaluate runs/demo --data synthetic_pedes --split test",
    'prompt-clip search runs/demo --gallery photos "a woman in a red coat with a black backpack"',
)

EXTRA_OF_MODULE = {
    "datasets": "train",
    "evaluate": "train",
    "filelock": "train",
    "matplotlib": "train",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "pyarrow": "train",
    "shtab": "completion",
    "tensorboard": "train",
}

OUR_PACKAGES = ("modeling_prompt_clip", "trainers", "dataset_scripts")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status.

    `PROMPT_CLIP_TRACEBACK=1` in the environment shows where an error came from.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] in (["--version"], ["-V"], ["version"]):
        print(f"prompt-clip {__version__}")
        return 0
    if arguments[:1] == ["help"] or arguments[1:] == ["help"]:  # of all verbs, or of one, before or after it
        arguments = [*(word for word in arguments if word != "help"), "--help"]
    group = arguments.pop(0) if arguments and arguments[0] in ABOUT else ""
    program = f"prompt-clip {group}".rstrip()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview(program, group))
        return 0
    word = arguments.pop(0)
    verb = f"{group} {word}".lstrip()
    if verb not in VERBS:
        return _fail(program, f"unknown verb {word!r}.{_advice(word, group)}", status=2)
    return _run(verb, _with_underscores(arguments))


def _with_underscores(arguments: list[str]) -> list[str]:
    """Accept hyphens in option names: `--adapter-only` becomes `--adapter_only`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    spelled = []
    for argument in arguments[:end]:
        name, equals, value = argument.partition("=")
        spelled.append(f"--{name[2:].replace('-', '_')}{equals}{value}" if name.startswith("--") else argument)
    return spelled + arguments[end:]


def _run(verb: str, arguments: list[str]) -> int:
    program = f"prompt-clip {verb}"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an answer is not lost to a locale that lacks a character
            stream.reconfigure(errors="backslashreplace")
    try:
        importlib.import_module(VERBS[verb].parser).parse(arguments)  # exits on --help and wrong use
        _talk_on_stderr()
        return importlib.import_module(VERBS[verb].command).main(arguments) or 0
    except KeyboardInterrupt:
        return _fail(program, "interrupted", status=130)
    except ModuleNotFoundError as error:
        extra = EXTRA_OF_MODULE.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _fail(program, f"{error.name} is not installed; run {install_hint(extra)}")
    except Exception as error:
        told = refused_by_system(error)
        if told is None and not isinstance(error, ValueError | TypeError | OSError):
            raise
        if os.environ.get("PROMPT_CLIP_TRACEBACK") == "1":
            traceback.print_exc()
        return _fail(program, told or str(error) or type(error).__name__)


def _fail(program: str, message: str, status: int = 1) -> int:
    print(f"{program}: error: {one_line(message)}", file=sys.stderr)
    return status


def _overview(program: str, group: str) -> str:
    verbs = {name: verb.help for name, verb in VERBS.items() if f"{name} ".startswith(f"{group} ".lstrip())}
    width = max(map(len, verbs))
    return "\n".join(
        [
            f"usage: {program} VERB ...   ({program} VERB --help tells more)",
            "",
            ABOUT[group],
            "",
            "verbs:",
            *(f"  {name.ljust(width)}  {help}" for name, help in verbs.items()),
            "",
            "examples:",
            *(f"  {example}" for example in EXAMPLES if example.startswith(f"{program} ")),
            "",
            "options: --help, --version; PROMPT_CLIP_TRACEBACK=1 in the environment shows where an error came from",
        ]
    )


def _advice(word: str, group: str) -> str:
    """Suggest the nearest verb, even without its first word; else all."""
    known = _next_words(group)
    if near := did_you_mean(word, known):
        return near
    whole = [verb for verb in VERBS if not group and verb.split()[-1] == word]
    return f" Did you mean {' or '.join(map(repr, whole))}?" if whole else f" Choose one of {', '.join(known)}."


def _next_words(group: str) -> Iterable[str]:
    """Words that may follow a first word, or come first."""
    if not group:
        return dict.fromkeys(verb.split()[0] for verb in VERBS)
    return [verb.removeprefix(f"{group} ") for verb in VERBS if verb.startswith(f"{group} ")]


class _PrintableFormatter(logging.Formatter):
    """Format messages, which may name files of others, without what a terminal obeys."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _talk_on_stderr() -> None:
    """Log our progress to stderr; silence transformers' reports and bars."""
    from huggingface_hub import constants
    from huggingface_hub.utils import enable_progress_bars
    from transformers.utils import logging as transformers_logging

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PrintableFormatter("%(message)s"))
    logging.basicConfig(handlers=[handler])
    for package in OUR_PACKAGES:
        logging.getLogger(package).setLevel(logging.INFO)
    logging.getLogger("huggingface_hub").propagate = False  # it has a handler of its own: said once is enough
    # PEFT 0.21 reads an attribute that transformers 5 deprecates: nothing that a user could mend
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
    if "TRANSFORMERS_VERBOSITY" not in os.environ:
        transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if not constants.HF_HUB_DISABLE_PROGRESS_BARS:
        enable_progress_bars()  # downloads take long enough to be shown
