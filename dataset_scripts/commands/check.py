"""`prompt-clip data check DIR`: report a data set's content and problems."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from dataset_scripts.commands.parsers.check import parse
from dataset_scripts.common.model_names import tokenizer_source
from dataset_scripts.formats import detect_format, get_format
from dataset_scripts.integrity.checker import check_folder
from dataset_scripts.integrity.table import report_text
from dataset_scripts.parquet import is_parquet_folder
from dataset_scripts.parquet.check import check_parquet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Check a folder, print a report or JSON, return 0 if usable, else 1.

    Raises:
        ValueError: the folder has none of the known formats; it holds Parquet in which something is wrong.
        OSError: the folder, its annotation or the tokenizer cannot be read.
    """
    args = parse(argv)
    if args.format == "auto" and is_parquet_folder(args.dir):
        return _check_parquet(args)
    layout = detect_format(args.dir) if args.format == "auto" else get_format(args.format)
    report = check_folder(
        args.dir,
        layout,
        annotation_only=args.annotation_only,
        decode=args.decode,
        tokenizer=_load_tokenizer(args.tokenizer) if args.tokenizer else None,
        against=args.against,
    )
    passed = report.clean if args.strict else report.usable
    if args.json:
        sys.stdout.write(json.dumps({**report.to_dict(), "strict": args.strict, "passed": passed}, indent=2) + "\n")
    else:
        sys.stdout.write(report_text(report, args.strict))
    return 0 if passed else 1


def _check_parquet(args: argparse.Namespace) -> int:
    """Check a Parquet folder and print split sizes; raise the first problem."""
    if args.against or args.tokenizer:
        raise ValueError(
            f"{args.dir} holds Parquet, which --against and --tokenizer do not read: check the folder that it was "
            "converted from."
        )
    sizes = check_parquet(args.dir, decode=args.decode, look_at_images=not args.annotation_only)
    if args.json:
        splits = {name: asdict(size) for name, size in sizes.items()}
        answer = {"folder": str(args.dir), "format": "parquet", "splits": splits, "passed": True}
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        lines = [
            f"{name:<10} {size.persons:>8,} persons {size.images:>10,} images {size.captions:>10,} captions"
            for name, size in sizes.items()
        ]
        sys.stdout.write("\n".join([f"{args.dir}: Parquet, nothing wrong found", *lines]) + "\n")
    return 0


def _load_tokenizer(name: str) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    source = tokenizer_source(name)
    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises Exception itself
        raise OSError(
            f"--tokenizer {name} has no readable tokenizer; give a folder or Hub id with CLIP's; those with code of "
            f"their own are not loaded ({error})"
        ) from error
