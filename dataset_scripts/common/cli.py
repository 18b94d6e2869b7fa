"""`prompt-clip VERB ...`: a table of verbs, each imported only when it is called; the table itself needs no torch.

A verb is a function of its arguments (`list[str] | None`) that returns an exit status or None. It writes its answer to
stdout and everything else to stderr. Exit status: 0 success, 1 failure, 2 wrong use, 130 interrupted.
"""

import difflib
import importlib
import logging
import os
import sys
import traceback
import warnings
from typing import NamedTuple

from dataset_scripts.common import __version__
from dataset_scripts.common.installing import install_hint

__all__ = ["VERBS", "Verb", "main"]


class Verb(NamedTuple):
    """Where a verb's function lives, as "module:function", and its one line of help."""

    target: str
    help: str


VERBS = {
    "demo": Verb("trainers.commands.demo:main", "the whole job on a synthetic set: train, compare, search"),
    "train": Verb(
        "trainers.commands.train:main", "train by a recipe: first prompts, then CLIP with the prompts fixed"
    ),
    "evaluate": Verb("trainers.commands.evaluate:main", "R@1, R@5, R@10, mAP and mINP of a model on a data set"),
    "search": Verb("modeling_prompt_clip.commands.search:main", "find the images of a folder that fit a sentence"),
    "convert": Verb("modeling_prompt_clip.commands.convert:main", "make a model of a checkpoint of CLIP or IRRA"),
    "export": Verb("modeling_prompt_clip.commands.export:main", "write both towers as ONNX, checked against torch"),
    "push": Verb("trainers.commands.push:main", "publish a run on the Hub: weights, code, card and figures"),
    "data": Verb("dataset_scripts.commands.data:main", "check a data set, convert it to Parquet, push it to the Hub"),
    "env": Verb("modeling_prompt_clip.commands.env:main", "versions, devices and the precision that pays here"),
}

EXAMPLES = (
    "prompt-clip demo",
    "prompt-clip data check CUHK-PEDES",
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
    "tensorboard": "train",
}

OUR_PACKAGES = ("modeling_prompt_clip", "trainers", "dataset_scripts")


def main(argv: list[str] | None = None) -> int:
    """Runs one verb and returns the exit status.

    `PROMPT_CLIP_TRACEBACK=1` in the environment shows where an error came from.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if arguments[0] == "--version":
        print(f"prompt-clip {__version__}")
        return 0
    verb = arguments[0]
    if verb not in VERBS:
        return _fail("prompt-clip", f"unknown verb {verb!r}; {_suggestion(verb)}", status=2)
    _talk_on_stderr()
    return _run(verb, _with_underscores(arguments[1:]))


def _with_underscores(arguments: list[str]) -> list[str]:
    """Options may be written with hyphens as well: `--adapter-only` is `--adapter_only`. Values stay as they are."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    spelled = []
    for argument in arguments[:end]:
        name, equals, value = argument.partition("=")
        spelled.append(f"--{name[2:].replace('-', '_')}{equals}{value}" if name.startswith("--") else argument)
    return spelled + arguments[end:]


def _run(verb: str, arguments: list[str]) -> int:
    program = f"prompt-clip {verb}"
    module, function = VERBS[verb].target.split(":")
    try:
        return getattr(importlib.import_module(module), function)(arguments) or 0
    except KeyboardInterrupt:
        return _fail(program, "interrupted", status=130)
    except ModuleNotFoundError as error:
        extra = EXTRA_OF_MODULE.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _fail(program, f"{error.name} is not installed; run {install_hint(extra)}")
    except (ValueError, TypeError, OSError) as error:
        if os.environ.get("PROMPT_CLIP_TRACEBACK") == "1":
            traceback.print_exc()
        return _fail(program, str(error) or type(error).__name__)


def _fail(program: str, message: str, status: int = 1) -> int:
    print(f"{program}: error: {' '.join(message.split())}", file=sys.stderr)
    return status


def _overview() -> str:
    width = max(map(len, VERBS))
    verbs = [f"  {name.ljust(width)}  {verb.help}" for name, verb in VERBS.items()]
    examples = [f"  {example}" for example in EXAMPLES]
    return "\n".join(
        [
            "usage: prompt-clip VERB ...   (prompt-clip VERB --help tells more)",
            "",
            "Find people by sentence, with CLIP adapted in two stages.",
            "",
            "verbs:",
            *verbs,
            "",
            "examples:",
            *examples,
            "",
            "options: --help, --version; PROMPT_CLIP_TRACEBACK=1 in the environment shows where an error came from",
        ]
    )


def _suggestion(verb: str) -> str:
    near = difflib.get_close_matches(verb, VERBS, n=1)
    return f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(VERBS)}"


def _talk_on_stderr() -> None:
    """Our own progress on stderr, without the reports and bars that transformers shows for every model it loads."""
    from huggingface_hub import constants
    from huggingface_hub.utils import enable_progress_bars
    from transformers.utils import logging as transformers_logging

    logging.basicConfig(stream=sys.stderr, format="%(message)s")
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
