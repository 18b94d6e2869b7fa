"""The command line of `prompt-clip train`."""

import argparse
from collections.abc import Sequence

from trainers.configs.recipes import parse as parse_recipe
from trainers.configs.recipes import parser
from trainers.distributed.launch import launch_arguments


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse without checking values, or exit with status 2.

    Raises OSError, ValueError: no such recipe, or one that cannot be read.
    """
    return parse_recipe(launch_arguments(argv)[1])


__all__ = ["parse", "parser"]
