"""`prompt-clip data push FOLDER --repo USER/NAME`: a converted data set as a repository on the Hub."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from dataset_scripts.parquet import push_dataset

__all__ = ["main"]

_DESCRIPTION = """\
Upload a folder that prompt-clip data convert made: its Parquet files, record and card, byte for byte. The repository
is private: these sets show people, and their licences forbid to publish them. The same command again sends what has
changed, and goes on where an upload was interrupted. Log in first, by `hf auth login` or a token in HF_TOKEN.
"""
_EXAMPLES = """\
examples:
  prompt-clip data push cuhk-parquet --repo my-lab/cuhk-pedes
  prompt-clip data push synthetic-parquet --repo me/synthetic-pedes --public

Those who may see the repository load it with this package or without, at once or streamed:
  load_person_search("my-lab/cuhk-pedes", split="train", streaming=True)
  datasets.load_dataset("my-lab/cuhk-pedes")
"""


def main(argv: list[str] | None = None) -> int:
    """Pushes a folder and tells where it is now, as text or JSON.

    Raises:
        ValueError, OSError: the folder cannot be pushed, or the Hub fails; see `push_dataset`.
    """
    args = _arguments(argv)
    pushed = push_dataset(
        args.folder, args.repo, private=not args.public, right_to_publish=args.i_have_the_right_to_publish
    )
    if args.json:
        sys.stdout.write(json.dumps(asdict(pushed), indent=2) + "\n")
    else:
        who = "private" if pushed.private else "public"
        sys.stdout.write(f"{args.folder} is at {pushed.url} ({who}), commit {pushed.commit}\n")
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="prompt-clip data push",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder made by prompt-clip data convert")
    parser.add_argument("--repo", required=True, metavar="USER/NAME", help="the repository; made where there is none")
    parser.add_argument(
        "--public",
        action="store_true",
        help="let everybody see it; only for sets whose terms let anybody publish a copy, such as the synthetic one",
    )
    parser.add_argument(
        "--i_have_the_right_to_publish",
        action="store_true",
        help="with --public: its authors, and the law on pictures of people, let you publish this set",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    args = parser.parse_args(argv)
    if args.i_have_the_right_to_publish and not args.public:
        parser.error("--i_have_the_right_to_publish means nothing without --public")
    return args
