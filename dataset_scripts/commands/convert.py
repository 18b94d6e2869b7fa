"""`prompt-clip data convert DIR OUT`: a data set as Parquet shards with the images inside, verified."""

import argparse
import json
import logging
import sys
from pathlib import Path

import datasets

from dataset_scripts import PERSON_SEARCH_DATASETS, load_person_search, skipped_images
from dataset_scripts.parquet import convert_to_parquet
from dataset_scripts.parquet.manifest import Manifest

__all__ = ["main"]

logger = logging.getLogger(__name__)

_WITHOUT_FOLDER = "synthetic_pedes"
_SKIPPED_SHOWN = 10
_DESCRIPTION = """\
Store a data set as Parquet files with the images inside: one folder that loads fast from any disk, can be streamed,
and can be pushed to the Hub. Image files go in unchanged, unless --image_size says otherwise. Every file is read back
and compared with what it was made of. A conversion that was stopped, however hard, goes on by the same command.
"""
_EXAMPLES = """\
examples:
  prompt-clip data convert CUHK-PEDES cuhk-parquet
  prompt-clip data convert CUHK-PEDES cuhk-384x128 --image_size 384 128 --num_proc 8
  prompt-clip data convert --format synthetic_pedes synthetic-parquet

OUT then holds data/train-00000-of-00007.parquet and so on, conversion.json (what each file must hold) and README.md
(counts, terms, what the set must not be used for). Train on it, or load it in Python, with this package or without:
  prompt-clip train --config cuhk_pedes --dataset parquet --data_dir cuhk-parquet
  load_person_search("parquet", "cuhk-parquet", split="train", streaming=True)
  datasets.load_dataset("cuhk-parquet")
"""


def main(argv: list[str] | None = None) -> int:
    """Converts a data set and tells what was written, as a table or JSON.

    Raises:
        ValueError, OSError: the set cannot be loaded, or not be written; see `convert_to_parquet`.
    """
    args = _arguments(argv)
    options = {} if args.on_bad_image == "error" else {"on_bad_image": args.on_bad_image}
    splits = load_person_search(args.format, args.dir, split=None, num_proc=args.num_proc, **options)
    skipped = skipped_images(next(iter(splits.values())))
    _tell_skipped(skipped)
    manifest = convert_to_parquet(
        splits,
        args.out,
        source=_source_name(splits, args.format),
        image_size=tuple(args.image_size) if args.image_size else None,
        quality=args.quality,
        rows_per_shard=args.rows_per_shard,
        num_proc=args.num_proc,
    )
    if args.json:
        answer = {"folder": str(args.out), **manifest.to_dict(), "skipped": skipped}
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        sys.stdout.write(_table(args.out, manifest))
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="prompt-clip data convert",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "dir", nargs="?", type=Path, metavar="DIR", help=f"folder of the data set; {_WITHOUT_FOLDER} needs none"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="new folder, or one of the same conversion, to go on")
    parser.add_argument(
        "--format",
        choices=PERSON_SEARCH_DATASETS,
        default="auto",
        metavar="NAME",
        help=f"what DIR holds: {', '.join(PERSON_SEARCH_DATASETS)} (default auto: found out)",
    )
    parser.add_argument(
        "--image_size",
        type=_positive,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="resize every image once, by the filter that training uses, and store it as JPEG: smaller and faster, "
        "but evaluation images change slightly too (default: files unchanged)",
    )
    parser.add_argument("--quality", type=_positive, default=95, help="of those JPEG files, 1 to 100 (default 95)")
    parser.add_argument(
        "--rows_per_shard", type=_positive, default=5000, metavar="N", help="images in a file (default 5000)"
    )
    parser.add_argument("--num_proc", type=_positive, metavar="N", help="processes that work at once (default 1)")
    parser.add_argument(
        "--on_bad_image",
        choices=("error", "skip"),
        default="error",
        help="stop at an image that is missing or cannot be decoded (default), or leave it out and name it",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_intermixed_args(argv)
    if args.dir is None and args.format != _WITHOUT_FOLDER:
        parser.error(f"DIR is missing: name the folder of the data set, then OUT (only {_WITHOUT_FOLDER} needs none)")
    return args


def _positive(text: str) -> int:
    """An integer of at least 1, or an error that argparse reports."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least 1")
    return int(text)


def _source_name(splits: datasets.DatasetDict, asked: str) -> str:
    """Name of what was loaded: where the format was found out, the set's own."""
    return next(iter(splits.values())).info.dataset_name or asked


def _tell_skipped(skipped: list[dict[str, str | int]]) -> None:
    for image in skipped[:_SKIPPED_SHOWN]:
        logger.warning("skipped %s: %s", image["image_id"], image["reason"])
    if len(skipped) > _SKIPPED_SHOWN:
        logger.warning("skipped %d images in all; --json lists them", len(skipped))


def _table(out: Path, manifest: Manifest) -> str:
    rows = [("split", "persons", "images", "captions", "cameras", "files", "size")]
    for name, split in manifest.splits.items():
        files = manifest.shards_of(name)
        counts = [f"{count:,}" for count in (split.persons, split.images, split.captions, split.cameras, len(files))]
        rows.append((name, *counts, _size(sum(record.file_bytes for record in files.values()))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    size, quality = manifest.settings.image_size, manifest.settings.quality
    images = f"resized to {size[0]}x{size[1]}, JPEG of quality {quality}" if size else "the source's files, unchanged"
    end = f"Images: {images}. Verified: every file was read back, and holds the rows that it was made of."
    return "\n".join([f"{manifest.source.name} in {out}", "", *lines, "", end, ""])


def _size(count: int) -> str:
    """Bytes in the largest unit that leaves a number of at least 1."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"
