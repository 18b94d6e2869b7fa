"""The command line of `prompt-clip search`."""

import argparse
from pathlib import Path

from dataset_scripts.common.parsers.shared import add_json, add_model_arguments, new_parser, positive_int

__all__ = ["parse", "parser"]


def parser() -> argparse.ArgumentParser:
    """The parser of `prompt-clip search`."""
    search = new_parser(
        "search",
        "Rank the images of a folder, subfolders included, by how well they fit each sentence.",
        """
        prompt-clip search runs/demo --gallery photos --output search.png "a woman in a red coat with a black backpack"
        prompt-clip search runs/demo --gallery photos --top 3 --json "a man in jeans" "a child with a yellow umbrella"
        """,
    )
    add_model_arguments(search)
    search.add_argument("sentences", metavar="SENTENCE", nargs="+", help="describes a person; quote it")
    search.add_argument("--gallery", type=Path, required=True, metavar="FOLDER", help="folder of images")
    search.add_argument("--top", type=positive_int, default=10, help="images shown for a sentence (default 10)")
    search.add_argument(
        "--output",
        type=Path,
        metavar="PNG",
        help="draw the best images into this file (default: no picture)",
    )
    add_json(search)
    search.add_argument(
        "--on_bad_image",
        choices=("error", "skip"),
        default="error",
        help="stop at an unreadable image (default), or skip it and name it",
    )
    return search


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse, or exit with status 2. Options may stand between sentences."""
    return parser().parse_intermixed_args(argv)
