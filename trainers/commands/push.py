"""`prompt-clip push RUN --repo USER/NAME`: a finished run as a model repository on the Hub."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from trainers.publishing import push_run

DESCRIPTION = """\
Upload a finished run: weights as safetensors, processor, the code to load them with, the run's card with its test
figures, its settings without the places on your machine, and its curves. Pictures of people are never uploaded. The
repository is private unless you say otherwise: a model of this kind finds people, and its data set's terms bind it.
The same command again sends what has changed, and goes on where an upload was interrupted. Log in first, by
`hf auth login` or a token in HF_TOKEN.
"""
EXAMPLES = """\
examples:
  prompt-clip push runs/cuhk_pedes --repo my-lab/prompt-clip-cuhk
  prompt-clip push runs/demo --repo me/prompt-clip-demo --public
  prompt-clip push runs/cuhk_pedes --repo my-lab/cuhk-prompts --adapter_only

Whoever may see the repository loads it without this package:
  AutoModel.from_pretrained("my-lab/prompt-clip-cuhk", trust_remote_code=True)
"""


def main(argv: list[str] | None = None) -> int:
    """Push a run and tell where it is now, as text or JSON.

    Raises:
        ValueError, OSError: the run cannot be pushed, or the Hub fails; see `push_run`.
    """
    args = _parser().parse_args(argv)
    pushed = push_run(
        args.run, args.repo, adapter_only=args.adapter_only, private=not args.public, license=args.license
    )
    if args.json:
        sys.stdout.write(json.dumps(asdict(pushed), indent=2) + "\n")
    else:
        who = "private" if pushed.private else "public"
        sys.stdout.write(f"{args.run} is at {pushed.url} ({who}), commit {pushed.commit}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prompt-clip push",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of prompt-clip train")
    parser.add_argument("--repo", required=True, metavar="USER/NAME", help="the repository; made where there is none")
    parser.add_argument("--adapter_only", action="store_true", help="the prompts of stage one alone, for PEFT")
    visibility = parser.add_mutually_exclusive_group()
    visibility.add_argument("--public", action="store_true", help="let everybody see a new repository")
    visibility.add_argument("--private", action="store_true", help="let nobody else see it: the default")
    parser.add_argument(
        "--license", metavar="ID", help="such as mit; by default 'other', and apache-2.0 for the synthetic set"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


__all__ = ["main"]
