"""What the command lines of several verbs share."""

import argparse

import torch

__all__ = ["add_model_arguments", "device", "positive_int"]


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, `--batch_size` and `--device`."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a PromptCLIP or CLIP folder, an adapter folder, a run folder, a Hub id, or stand-in, the one built in",
    )
    parser.add_argument("--batch_size", type=positive_int, default=64, help="images or captions a pass (default 64)")
    parser.add_argument("--device", type=device, help="where the model runs, such as cuda:0 (default cpu)")


def positive_int(text: str) -> int:
    """An integer of at least 1, or an error that argparse reports."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least 1")
    return int(text)


def device(text: str) -> str:
    """The name of a device that exists here, or an error that argparse reports."""
    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used here ({str(error).splitlines()[0]})") from error
    return text
