"""Options and types that the command lines of several verbs share."""

import argparse
import textwrap

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


def new_parser(verb: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Make a parser whose `--help` ends with examples, printed verbatim.

    Args:
        verb: as it is typed, such as "data check".
        description: one paragraph; it is wrapped here.
        examples: lines of commands, and what else belongs at the end.
    """
    return argparse.ArgumentParser(
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
