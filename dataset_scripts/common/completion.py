"""`prompt-clip completion SHELL`: a completion script for bash, zsh or tcsh."""

import argparse
import importlib
import sys
from pathlib import Path

from dataset_scripts.common.cli import ABOUT, VERBS
from dataset_scripts.common.parsers.shared import new_parser

__all__ = ["main", "parse", "parser", "whole_parser"]


def parser() -> argparse.ArgumentParser:
    """The parser of `prompt-clip completion`."""
    completion = new_parser(
        "completion",
        "Print a script that completes verbs, options, choices and files of prompt-clip. Your shell reads it once; "
        "completing then starts no Python. Print it again after an update.",
        """
        prompt-clip completion bash > ~/.local/share/bash-completion/completions/prompt-clip
        prompt-clip completion zsh > ~/.zfunc/_prompt-clip
        """,
    )
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="which shell reads the script")
    return completion


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse, or exit with status 2."""
    return parser().parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Prints the script.

    Raises ModuleNotFoundError: shtab is missing; the extra `completion` brings it.
    """
    import shtab

    sys.stdout.write(shtab.complete(whole_parser(), parse(argv).shell) + "\n")
    return 0


def whole_parser() -> argparse.ArgumentParser:
    """Build one parser of all verbs for shtab; `prompt-clip` imports only one."""
    whole = argparse.ArgumentParser(prog="prompt-clip")
    groups = {"": whole.add_subparsers()}
    for name, verb in VERBS.items():
        group, _, word = name.rpartition(" ")
        if group not in groups:
            groups[group] = groups[""].add_parser(group, help=ABOUT[group]).add_subparsers()
        own = importlib.import_module(verb.parser).parser()
        for action in own._actions:
            if action.type is Path:
                action.complete = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
        groups[group].add_parser(word, parents=[own], add_help=False, help=verb.help)
    return whole
