"""Options and types that the command lines of several verbs share."""

import argparse
import re
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

from dataset_scripts.common.text.printable import one_line
from dataset_scripts.common.text.suggest import did_you_mean

__all__ = [
    "add_image_size",
    "add_json",
    "add_model",
    "add_model_arguments",
    "device",
    "new_parser",
    "positive_int",
    "side",
    "workers",
]


class VerbParser(argparse.ArgumentParser):
    """argparse's parser that names the option nearest to an unknown one, on one line without control characters."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse unknown options first: argparse would say that what was misspelt is missing."""
        for word in args or ():
            if word == "--":
                break
            name = word.partition("=")[0]
            if re.fullmatch(r"--\w+", name) and not any(option.startswith(name) for option in self.options()):
                self.error(f"unknown option {name!r}.{did_you_mean(name, self.options())}")
        return super().parse_known_args(args, namespace)

    def options(self) -> list[str]:
        """Long options that help shows."""
        shown = (action for action in self._actions if action.help != argparse.SUPPRESS)
        return [option for action in shown for option in action.option_strings if option.startswith("--")]

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        super().error(one_line(message))


def new_parser(verb: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Make a parser whose `--help` ends with examples, printed verbatim.

    Args:
        verb: as it is typed, such as "data check".
        description: one paragraph; it is wrapped here.
        examples: lines of commands, and what else belongs at the end.
    """
    return VerbParser(
        prog=f"prompt-clip {verb}",
        description=textwrap.fill(description, 96),
        epilog="examples:\n" + textwrap.indent(textwrap.dedent(examples).strip(), "  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """MODEL."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a run, adapter, PromptCLIP or CLIP folder, a Hub id, or stand-in, the small CLIP that ships with us",
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, `--batch_size` and `--device`."""
    add_model(parser)
    parser.add_argument("--batch_size", type=positive_int, default=64, help="images or captions a pass (default 64)")
    parser.add_argument("--device", type=device, help="where the model runs, such as cuda:0 (default cpu)")


def add_image_size(parser: argparse.ArgumentParser, help: str) -> None:
    """`--image_size HEIGHT WIDTH`."""
    parser.add_argument("--image_size", type=side, nargs=2, metavar=("HEIGHT", "WIDTH"), help=help)


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def positive_int(text: str) -> int:
    """An integer from 1 to a million, or an error that argparse reports."""
    return _integer(text, 1, 1_000_000)


def side(text: str) -> int:
    """A side of an image in pixels, or an error that argparse reports."""
    return _integer(text, 1, 4096)


def workers(text: str) -> int:
    """A number of processes, 0 included, or an error that argparse reports."""
    return _integer(text, 0, 256)


def _integer(text: str, least: int, most: int) -> int:
    if not (text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not an integer from {least} to {most:,}")
    return int(text)


def device(text: str) -> str:
    """Return the name of an available device; raise an error for argparse."""
    import torch  # seconds, and only needed where the option is given

    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used here ({str(error).splitlines()[0]})") from error
    return text
