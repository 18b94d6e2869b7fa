"""The command line of `prompt-clip data check`."""

import argparse
from pathlib import Path

from dataset_scripts.common.parsers.shared import add_json, new_parser
from dataset_scripts.formats import FORMATS

__all__ = ["parse", "parser"]


def parser() -> argparse.ArgumentParser:
    """The parser of `prompt-clip data check`."""
    check = new_parser(
        "data check",
        "Find out what a folder holds and report everything that is wrong with it: in the annotation, its rows, every "
        "image file, and the counts against the published ones. Each problem is shown with its first cases and what "
        "to do about it. With --decode, a folder reported as usable loads, and one that is not does not.",
        """
        prompt-clip data check CUHK-PEDES
        prompt-clip data check CUHK-PEDES --decode
        prompt-clip data check ICFG-PEDES --against RSTPReid CUHK-PEDES
        prompt-clip data check my-photos --format custom --strict --json
        """,
    )
    check.epilog = (
        f"exit status: 0 usable, perhaps with warnings; 1 not usable (with --strict, or any warning); "
        f"2 wrong use\n\n{check.epilog}"
    )
    check.add_argument("dir", type=Path, metavar="DIR", help="folder of the data set")
    check.add_argument(
        "--format",
        choices=(*FORMATS, "auto"),
        default="auto",
        metavar="NAME",
        help=f"what DIR holds: {', '.join(FORMATS)} (default auto: detected)",
    )
    check.add_argument(
        "--decode",
        action="store_true",
        help="read every image completely, not only its header and end, and find duplicate pictures",
    )
    check.add_argument("--annotation_only", action="store_true", help="look at no image")
    check.add_argument(
        "--against",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="other data sets: no training image of one may be in a held-out split of another",
    )
    check.add_argument(
        "--tokenizer",
        metavar="MODEL",
        help="folder or Hub id, to count the tokens of captions exactly (default: a lower bound)",
    )
    check.add_argument("--strict", action="store_true", help="exit status 1 on any warning; notes pass")
    add_json(check)
    return check


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse, or exit with status 2. Options may stand before and after DIR."""
    check = parser()
    args = check.parse_intermixed_args(argv)
    if args.annotation_only and (args.decode or args.against):
        check.error("--annotation_only looks at no image, so it cannot go with --decode or --against")
    return args
