"""`prompt-clip push RUN --repo USER/NAME`: a finished run as a model repository on the Hub."""

import json
import sys
from dataclasses import asdict

from trainers.commands.parsers.push import parse
from trainers.publishing import push_run


def main(argv: list[str] | None = None) -> int:
    """Push a run and tell where it is now, as text or JSON.

    Raises ValueError, OSError: the run cannot be pushed, or the Hub fails; see `push_run`.
    """
    args = parse(argv)
    pushed = push_run(
        args.run, args.repo, adapter_only=args.adapter_only, private=not args.public, license=args.license
    )
    if args.json:
        sys.stdout.write(json.dumps(asdict(pushed), indent=2) + "\n")
    else:
        who = "private" if pushed.private else "public"
        sys.stdout.write(f"{args.run} is at {pushed.url} ({who}), commit {pushed.commit}\n")
    return 0


__all__ = ["main"]
