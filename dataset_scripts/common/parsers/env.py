"""The command line of `prompt-clip env`."""

import argparse

from dataset_scripts.common.parsers.shared import add_json, new_parser

__all__ = ["parse", "parser"]


def parser() -> argparse.ArgumentParser:
    """The parser of `prompt-clip env`."""
    env = new_parser(
        "env",
        "Show the versions of packages, the devices, and how much faster they multiply in bf16 than in float32. The "
        "answer names no folder, user or machine, so you can paste it into a bug report.",
        """
        prompt-clip env
        prompt-clip env --json
        """,
    )
    add_json(env)
    return env


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse, or exit with status 2."""
    return parser().parse_args(argv)
