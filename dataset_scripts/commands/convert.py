"""`prompt-clip data convert DIR OUT`: write verified Parquet shards."""

import json
import logging
import sys
from pathlib import Path

import datasets

from dataset_scripts import load_person_search, skipped_images
from dataset_scripts.commands.parsers.convert import parse
from dataset_scripts.common.files import check_output
from dataset_scripts.parquet import convert_to_parquet
from dataset_scripts.parquet.manifest import Manifest

__all__ = ["main"]

logger = logging.getLogger(__name__)

_SKIPPED_SHOWN = 10


def main(argv: list[str] | None = None) -> int:
    """Convert a data set and print a table or JSON.

    Raises ValueError, OSError: the set cannot be loaded, or not be written; see `convert_to_parquet`.
    """
    args = parse(argv)
    check_output(args.out, "OUT")
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


def _source_name(splits: datasets.DatasetDict, asked: str) -> str:
    """Name of what was loaded: where the format was found out, the set's own."""
    return next(iter(splits.values())).info.dataset_name or asked


def _tell_skipped(skipped: list[dict[str, str | int]]) -> None:
    for image in skipped[:_SKIPPED_SHOWN]:
        logger.warning("skipped %s: %s", image["image_id"], image["reason"])
    if len(skipped) > _SKIPPED_SHOWN:
        logger.warning("skipped %d images in all; --json lists them", len(skipped))


def _table(out: Path, manifest: Manifest) -> str:
    rows: list[tuple[str, ...]] = [("split", "persons", "images", "captions", "cameras", "files", "size")]
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


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"
