"""`prompt-clip data push FOLDER --repo USER/NAME`: upload a converted data set."""

import json
import sys
from dataclasses import asdict

from dataset_scripts.commands.parsers.push import parse
from dataset_scripts.parquet import push_dataset

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Upload a folder and print its address, as text or JSON.

    Raises ValueError, OSError: the folder cannot be pushed, or the Hub fails; see `push_dataset`.
    """
    args = parse(argv)
    pushed = push_dataset(
        args.folder, args.repo, private=not args.public, right_to_publish=args.i_have_the_right_to_publish
    )
    if args.json:
        sys.stdout.write(json.dumps(asdict(pushed), indent=2) + "\n")
    else:
        who = "private" if pushed.private else "public"
        sys.stdout.write(f"{args.folder} is at {pushed.url} ({who}), commit {pushed.commit}\n")
    return 0
