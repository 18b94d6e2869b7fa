"""The command line of `prompt-clip data push`."""

import argparse
from pathlib import Path

from dataset_scripts.common.parsers.shared import add_json, new_parser

__all__ = ["parse", "parser"]

_LOADING = """\
People with access load it with this package or without, whole or streamed:
  load_person_search("my-lab/cuhk-pedes", split="train", streaming=True)
  datasets.load_dataset("my-lab/cuhk-pedes")"""


def parser() -> argparse.ArgumentParser:
    """The parser of `prompt-clip data push`."""
    push = new_parser(
        "data push",
        "Upload a folder made by prompt-clip data convert: its Parquet files, record and card, byte for byte. The "
        "repository is private: these sets show people, and their licences forbid publishing them. The same command "
        "again sends only changes, and resumes an interrupted upload. Log in first with `hf auth login`, or put a "
        "token into HF_TOKEN.",
        """
        prompt-clip data push cuhk-parquet --repo my-lab/cuhk-pedes
        prompt-clip data push synthetic-parquet --repo me/synthetic-pedes --public
        """,
    )
    push.epilog = f"{push.epilog}\n\n{_LOADING}"
    push.add_argument("folder", type=Path, metavar="FOLDER", help="folder made by prompt-clip data convert")
    push.add_argument("--repo", required=True, metavar="USER/NAME", help="the repository, created if missing")
    push.add_argument(
        "--public",
        action="store_true",
        help="let everybody see it; only for sets whose terms let anybody publish a copy, such as the synthetic one",
    )
    push.add_argument(
        "--i_have_the_right_to_publish",
        action="store_true",
        help="with --public: its authors, and the law on pictures of people, let you publish this set",
    )
    add_json(push)
    return push


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse, or exit with status 2."""
    push = parser()
    args = push.parse_args(argv)
    if args.i_have_the_right_to_publish and not args.public:
        push.error("--i_have_the_right_to_publish means nothing without --public")
    return args
