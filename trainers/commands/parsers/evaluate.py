"""The command line of `prompt-clip evaluate`."""

import argparse
from pathlib import Path

from dataset_scripts import PERSON_SEARCH_DATASETS
from dataset_scripts.common.parsers.shared import (
    add_image_size,
    add_json,
    add_model_arguments,
    new_parser,
    positive_int,
    workers,
)

# as in `modeling_prompt_clip.retrieval`; a test compares them
KS = (1, 5, 10)
RERANKINGS = ("k_reciprocal", "knn")


def parser() -> argparse.ArgumentParser:
    """The parser of `prompt-clip evaluate`."""
    evaluate = new_parser(
        "evaluate",
        "R@K, mAP and mINP of a model on one split of a data set, in both directions.",
        """
        prompt-clip evaluate runs/cuhk_pedes --split test
        prompt-clip evaluate irra_cuhk --data CUHK-PEDES --split test --by camera --output evaluated
        prompt-clip evaluate runs/mine --compare runs/theirs --json
        """,
    )
    add_model_arguments(evaluate)
    evaluate.add_argument(
        "--data",
        metavar="DIR_OR_NAME",
        help="a folder, whose format is detected, USER/NAME on the Hub, or, with --data_dir, one of "
        f"{', '.join(PERSON_SEARCH_DATASETS)} (default: the data set of the run)",
    )
    evaluate.add_argument("--data_dir", type=Path, metavar="DIR", help="folder of the data set that --data names")
    evaluate.add_argument(
        "--dataset_options",
        default={},
        metavar="JSON",
        help="such as '{\"validation_share\": 0.1}' (default: those of the run); options that put other persons into "
        "the splits are refused",
    )
    evaluate.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        default="validation",
        help="default validation, so that nobody tunes on the test split by accident",
    )
    add_image_size(evaluate, "pixels, if they should differ from the model's own")
    evaluate.add_argument(
        "--num_workers",
        type=workers,
        default=0,
        metavar="N",
        help="processes that prepare images while the model works (default 0; try 4 on a GPU)",
    )
    _add_questions(evaluate)
    add_json(evaluate)
    evaluate.add_argument(
        "--output", type=Path, metavar="FOLDER", help="also draw pages there, and append to its results.json"
    )
    return evaluate


def _add_questions(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument(
        "--ks", type=positive_int, nargs="+", default=list(KS), metavar="K", help="ranks of R@K (default 1 5 10)"
    )
    evaluate.add_argument(
        "--ties",
        choices=("pessimistic", "optimistic", "expected"),
        default="pessimistic",
        help="how images with equal scores rank (default pessimistic: wrong ones first)",
    )
    evaluate.add_argument("--by", metavar="COLUMN", help="also report by a column of the data set, such as camera")
    evaluate.add_argument(
        "--compare", metavar="MODEL", help="another model on the same split: the differences, with intervals"
    )
    evaluate.add_argument(
        "--false_alarm_rate",
        type=float,
        metavar="PERCENT",
        help="also report open-set search: answer only above a threshold, set on validation so that this share of "
        "queries for absent persons is answered; such as 1",
    )
    evaluate.add_argument(
        "--rerank",
        action="append",
        choices=RERANKINGS,
        default=[],
        help="also re-rank, reported separately because it uses the other queries and the gallery of the split; "
        "repeat it for several methods",
    )


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse, or exit with status 2."""
    evaluate = parser()
    args = evaluate.parse_args(argv)
    if args.data is None and args.data_dir:
        evaluate.error(
            f"--data_dir is {args.data_dir}, but --data does not name its data set; give a folder to --data"
        )
    return args


__all__ = ["parse", "parser"]
