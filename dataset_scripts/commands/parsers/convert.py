"""The command line of `prompt-clip data convert`."""

import argparse
from pathlib import Path

from dataset_scripts import PERSON_SEARCH_DATASETS
from dataset_scripts.common.parsers.shared import add_image_size, add_json, new_parser, positive_int

__all__ = ["parse", "parser"]

_WITHOUT_FOLDER = "synthetic_pedes"
_RESULT = """\
OUT then holds data/train-00000-of-00007.parquet and so on, conversion.json (what each file must hold) and README.md
(counts, terms, what the set must not be used for). Train on it, or load it in Python, with this package or without:
  prompt-clip train --config cuhk_pedes --dataset parquet --data_dir cuhk-parquet
  load_person_search("parquet", "cuhk-parquet", split="train", streaming=True)
  datasets.load_dataset("cuhk-parquet")"""


def parser() -> argparse.ArgumentParser:
    """The parser of `prompt-clip data convert`."""
    convert = new_parser(
        "data convert",
        "Store a data set as Parquet files with the images inside: one folder that loads fast, can be streamed, and "
        "can be pushed to the Hub. Image files are stored unchanged unless you give --image_size. Every file is read "
        "back and compared with its source. If a conversion is interrupted, the same command resumes it.",
        """
        prompt-clip data convert CUHK-PEDES cuhk-parquet
        prompt-clip data convert CUHK-PEDES cuhk-384x128 --image_size 384 128 --num_proc 8
        prompt-clip data convert --format synthetic_pedes synthetic-parquet
        """,
    )
    convert.epilog = f"{convert.epilog}\n\n{_RESULT}"
    convert.add_argument(
        "dir", nargs="?", type=Path, metavar="DIR", help=f"folder of the data set; {_WITHOUT_FOLDER} needs none"
    )
    convert.add_argument("out", type=Path, metavar="OUT", help="a new folder, or an unfinished conversion to resume")
    convert.add_argument(
        "--format",
        choices=PERSON_SEARCH_DATASETS,
        default="auto",
        metavar="NAME",
        help=f"what DIR holds: {', '.join(PERSON_SEARCH_DATASETS)} (default auto: detected)",
    )
    add_image_size(
        convert,
        "resize every image once, with the filter that training uses, and store it as JPEG: smaller and faster, but "
        "evaluation images change slightly too (default: files unchanged)",
    )
    convert.add_argument("--quality", type=positive_int, default=95, help="of those JPEG files, 1 to 100 (default 95)")
    convert.add_argument(
        "--rows_per_shard", type=positive_int, default=5000, metavar="N", help="images in a file (default 5000)"
    )
    convert.add_argument("--num_proc", type=positive_int, metavar="N", help="parallel processes (default 1)")
    convert.add_argument(
        "--on_bad_image",
        choices=("error", "skip"),
        default="error",
        help="stop at an image that is missing or cannot be decoded (default), or skip it and name it",
    )
    add_json(convert)
    return convert


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse, or exit with status 2. Options may stand between DIR and OUT."""
    convert = parser()
    args = convert.parse_intermixed_args(argv)
    if args.dir is None and args.format != _WITHOUT_FOLDER:
        convert.error(f"DIR is missing: name the folder of the data set, then OUT (only {_WITHOUT_FOLDER} needs none)")
    return args
