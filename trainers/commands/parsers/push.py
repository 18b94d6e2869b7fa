"""The command line of `prompt-clip push`."""

import argparse
from pathlib import Path

from dataset_scripts.common.parsers.shared import add_json, new_parser

_LOADING = """\
Anyone with access to the repository loads it without this package:
  AutoModel.from_pretrained("my-lab/prompt-clip-cuhk", trust_remote_code=True)"""


def parser() -> argparse.ArgumentParser:
    """The parser of `prompt-clip push`."""
    push = new_parser(
        "push",
        "Upload a finished run: weights as safetensors, the processor, the code that loads them, the run's card with "
        "its test figures, its settings without the folders of your machine, and its curves. Pictures of people are "
        "never uploaded. A new repository is private by default: such a model finds people, and the terms of its data "
        "set apply to it. The same command again sends only changes, and resumes an interrupted upload. Log in first "
        "with `hf auth login`, or put a token into HF_TOKEN.",
        """
        prompt-clip push runs/cuhk_pedes --repo my-lab/prompt-clip-cuhk
        prompt-clip push runs/demo --repo me/prompt-clip-demo --public
        prompt-clip push runs/cuhk_pedes --repo my-lab/cuhk-prompts --adapter_only
        """,
    )
    push.epilog = f"{push.epilog}\n\n{_LOADING}"
    push.add_argument("run", type=Path, metavar="RUN", help="run folder made by prompt-clip train")
    push.add_argument("--repo", required=True, metavar="USER/NAME", help="the repository, created if missing")
    push.add_argument("--adapter_only", action="store_true", help="upload only the prompts of stage one, for PEFT")
    visibility = push.add_mutually_exclusive_group()
    visibility.add_argument("--public", action="store_true", help="make a new repository public")
    visibility.add_argument("--private", action="store_true", help="make a new repository private (default)")
    push.add_argument("--license", metavar="ID", help="such as mit (default other; apache-2.0 for the synthetic set)")
    add_json(push)
    return push


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse, or exit with status 2."""
    return parser().parse_args(argv)


__all__ = ["parse", "parser"]
