"""`prompt-clip evaluate MODEL --data DIR_OR_NAME`: a model's retrieval metrics on one split, in both directions."""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

from dataset_scripts import PERSON_SEARCH_DATASETS, load_person_search
from modeling_prompt_clip.commands.arguments import add_model_arguments, positive_int
from modeling_prompt_clip.loading import load_model
from modeling_prompt_clip.retrieval.evaluator import PROTOCOL, EncodedSplit, TextToImageEvaluator
from modeling_prompt_clip.retrieval.metrics import RetrievalMetrics
from modeling_prompt_clip.retrieval.report import ranked_strips
from modeling_prompt_clip.retrieval.tables import metrics_table
from trainers.files import write_json
from trainers.splits import resolve_source

__all__ = ["main"]

RESULTS = "results.json"
STRIPS = "ranked_strips.png"

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Evaluates a model; the test split is used only where it is asked for by name.

    With `--output FOLDER` it also draws `ranked_strips.png` there and adds its rows to `results.json`.

    Raises:
        ValueError, OSError: the model, the data set or an existing `results.json` cannot be used.
    """
    args = _parser().parse_args(argv)
    earlier = _earlier_rows(args.output) if args.output else []
    data, data_dir = resolve_source(args.data, args.data_dir)
    dataset = load_person_search(data, data_dir=data_dir, split=args.split)
    image_size = tuple(args.image_size) if args.image_size else None
    model, processor = load_model(args.model, image_size=image_size, device=args.device)
    evaluator = TextToImageEvaluator(dataset, processor, batch_size=args.batch_size, num_workers=args.num_workers)
    encoded = evaluator.encode(model)
    results = evaluator.metrics(encoded)
    rows = _rows(args, results, processor.image_size)
    if args.output:
        write_json(args.output / RESULTS, [*earlier, *rows])
        ranked_strips(encoded, dataset).save(args.output / STRIPS)
        logger.info("wrote %s and %s to %s", RESULTS, STRIPS, args.output)
    sys.stdout.write(json.dumps(rows, indent=2) + "\n" if args.json else _table(args, results, encoded))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prompt-clip evaluate",
        description="R@1, R@5, R@10, mAP and mINP of a model on one split of a data set, in both directions.",
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR_OR_NAME",
        help="a folder, whose format is found out, USER/NAME on the Hub, or, with --data_dir, one of "
        f"{', '.join(PERSON_SEARCH_DATASETS)}",
    )
    parser.add_argument("--data_dir", type=Path, metavar="DIR", help="folder of the data set that --data names")
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        default="validation",
        help="default validation, so that choices are not made on the test split by accident",
    )
    parser.add_argument(
        "--image_size",
        type=positive_int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="pixels, where they should differ from the model's own",
    )
    parser.add_argument(
        "--num_workers",
        type=int,
        default=0,
        metavar="N",
        help="processes that prepare images while the model works (default 0; try 4 on a GPU)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help=f"also write {STRIPS}, and add to {RESULTS}")
    return parser


def _earlier_rows(folder: Path) -> list[dict[str, Any]]:
    """What `results.json` holds already, so that it is added to and never lost."""
    path = folder / RESULTS
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); choose another --output or remove it") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path} is not a list of evaluations; choose another --output or remove it")
    return rows


def _rows(
    args: argparse.Namespace, results: dict[str, RetrievalMetrics], image_size: tuple[int, int]
) -> list[dict[str, Any]]:
    """Rows of `results.json`, one a direction."""
    return [
        {
            "method": args.model,
            "data": args.data,
            "split": args.split,
            "direction": direction,
            "image_size": list(image_size),
            "protocol": PROTOCOL,
            "metrics": metrics.to_dict(),
        }
        for direction, metrics in results.items()
    ]


def _table(args: argparse.Namespace, results: dict[str, RetrievalMetrics], encoded: EncodedSplit) -> str:
    named = {direction.replace("_", " "): metrics for direction, metrics in results.items()}
    size = f"{len(encoded.image_embeds):,} images, {len(encoded.captions):,} captions"
    return f"{args.model} on {args.data}, {args.split}: {size}\n\n{metrics_table(named)}\n\nProtocol: {PROTOCOL}.\n"
