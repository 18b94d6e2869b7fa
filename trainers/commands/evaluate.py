"""`prompt-clip evaluate MODEL --data DIR_OR_NAME`: a model's retrieval metrics on one split, in both directions."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import datasets
from datasets.utils import tqdm

from dataset_scripts import load_person_search
from dataset_scripts.builders.image_features import check_images_inside
from dataset_scripts.common.files import check_output, write_json
from dataset_scripts.common.own_code import names_code
from modeling_prompt_clip import PromptCLIPProcessor
from modeling_prompt_clip.loading import STAND_IN, load_model
from modeling_prompt_clip.retrieval import (
    PROTOCOL,
    RERANKINGS,
    EncodedSplit,
    OpenSetRates,
    TextToImageEvaluator,
    calibrate_threshold,
    checked_ks,
    compare_models,
    open_set_rates,
    open_set_scores,
)
from trainers.arguments.parsing import parse_json_dict
from trainers.commands.evaluation_pages import draw_pages
from trainers.commands.evaluation_report import TEXT_TO_IMAGE, Evaluation, Reranked, group_names, grouped_metrics
from trainers.commands.parsers.evaluate import parse, parser
from trainers.data.own import own_splits
from trainers.data.split_facts import SplitFacts, size_text, split_facts
from trainers.data.splits import read_by_our_rule, source_label
from trainers.run_folder.evaluated_data import EvaluatedData, evaluated_data
from trainers.run_folder.files import read_results
from trainers.run_folder.lock import check_unused, only_writer
from trainers.run_folder.settings import setting_differences, settings_of_model

__all__ = ["main"]

RESULTS = "results.json"

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Evaluates a model; the test split is used only where it is asked for by name.

    With `--output FOLDER` it also draws pages there and adds its rows to `results.json`.

    Raises ValueError, OSError: the model, the data set or an existing `results.json` cannot be used.
    """
    args = parse(argv)
    if args.data is None and settings_of_model(args.model) is None:
        parser().error("--data is needed: MODEL has no config.yaml of a run, which would name its data set")
    if args.output:
        check_output(args.output)
        check_unused(args.output)
        read_results(args.output / RESULTS)  # what is there is added to and never lost
    args.ks = checked_ks(args.ks)
    options = parse_json_dict("dataset_options", args.dataset_options)
    models = [name for name in (args.model, args.compare) if name]
    data = evaluated_data(models, args.data, args.data_dir, options)
    dataset = _load_split(data, args.split)
    facts = split_facts(dataset, args.split, data.options)
    _warn_of_unknown(models, facts)
    groups = group_names(dataset, args.by) if args.by else []
    validation = _validation(args, data) if args.false_alarm_rate is not None else None
    evaluator, encoded = _encode(args, args.model, dataset)
    evaluation = Evaluation(
        args.model,
        args.data or source_label(data.name, data.data_dir),
        args.split,
        evaluator.processor.image_size,
        PROTOCOL.replace("pessimistically", f"{args.ties}ally" if args.ties != "expected" else "in expectation"),
        facts,
        evaluator.query_values(encoded, args.ties),
    )
    if args.by:
        evaluation.groups = grouped_metrics(evaluation.values[TEXT_TO_IMAGE], encoded, groups)
    if args.false_alarm_rate is not None:
        evaluation.open_set = _open_set(args, encoded, validation)
    for name in tqdm(args.rerank, desc="re-ranking", delay=2):
        rerank = RERANKINGS[name]()
        values = evaluator.query_values(encoded, args.ties, rerank)
        evaluation.reranked[name] = Reranked(asdict(rerank), values)
    if args.compare:
        other, other_encoded, own_size = _encode_at(args, args.compare, dataset, evaluator.processor.image_size)
        evaluation.compared_with, evaluation.compared_size = args.compare, own_size
        evaluation.compared_settings = _compared_settings(args.model, args.compare)
        for direction, values in other.query_values(other_encoded, args.ties).items():
            evaluation.comparisons[direction] = compare_models(values, evaluation.values[direction])
    sys.stdout.write(json.dumps(evaluation.rows(), indent=2) + "\n" if args.json else evaluation.text())
    if args.output:
        with only_writer(args.output, wait=60):
            write_json(args.output / RESULTS, [*read_results(args.output / RESULTS), *evaluation.rows()])
            threshold = evaluation.open_set.threshold if evaluation.open_set else None
            draw_pages(
                encoded, evaluation.values[TEXT_TO_IMAGE], dataset, args.output, threshold, evaluation.headline()
            )
        logger.info("wrote %s and pages to look at to %s", RESULTS, args.output)
    return 0


def _load_split(data: EvaluatedData, split: str) -> datasets.Dataset:
    if names_code(data.name):  # typed by the user: that of a run's settings is refused
        own = own_splits(data.name, data.data_dir, data.options, [split])
        if split not in own:
            raise ValueError(f"--data {data.name} has no split {split!r}; name another --split")
        rows = read_by_our_rule(own[split])
    else:
        rows = load_person_search(data.name, data_dir=data.data_dir, split=split, **data.options)
    check_images_inside(rows)
    return rows


def _warn_of_unknown(models: Sequence[str], facts: SplitFacts) -> None:
    """Say it where nobody can tell whether a model was trained on persons of a split that was drawn."""
    unknown = [name for name in models if facts.drawn and name != STAND_IN and settings_of_model(name) is None]
    for name in unknown:
        logger.warning(
            "%s has no config.yaml of a run beside it: nobody can tell whether it was trained on persons of this "
            "split, which was drawn by %s",
            name,
            facts.drawn,
        )


def _encode(
    args: argparse.Namespace, name: str, dataset: datasets.Dataset
) -> tuple[TextToImageEvaluator, EncodedSplit]:
    """A model's evaluator on a split, and the split as it sees it."""
    image_size = tuple(args.image_size) if args.image_size else None
    model, processor = load_model(name, image_size=image_size, device=args.device)
    evaluator = _evaluator(args, dataset, processor)
    return evaluator, evaluator.encode(model)


def _encode_at(
    args: argparse.Namespace, name: str, dataset: datasets.Dataset, image_size: tuple[int, int]
) -> tuple[TextToImageEvaluator, EncodedSplit, tuple[int, int]]:
    """As `_encode`, at the image size of the model that this one is compared with; and the size of its own."""
    model, processor = load_model(name, device=args.device)
    own_size = processor.image_size
    if own_size != image_size:
        logger.info(
            "%s is evaluated at %s, as the first model; its own size is %s",
            name,
            *map(size_text, (image_size, own_size)),
        )
        model, processor = load_model(name, image_size=image_size, device=args.device)
    evaluator = _evaluator(args, dataset, processor)
    return evaluator, evaluator.encode(model), own_size


def _evaluator(
    args: argparse.Namespace, dataset: datasets.Dataset, processor: PromptCLIPProcessor
) -> TextToImageEvaluator:
    options = {"ks": args.ks, "batch_size": args.batch_size, "num_workers": args.num_workers}
    return TextToImageEvaluator(dataset, processor, **options)


def _compared_settings(model: str, other: str) -> dict[str, list[Any]] | None:
    """Settings in which the runs that made two models differ; None where one is not known."""
    found = [settings_of_model(name) for name in (model, other) if name != STAND_IN]
    runs = [run[1] for run in found if run is not None]
    return setting_differences(*runs) if len(runs) == 2 else None


def _validation(args: argparse.Namespace, data: EvaluatedData) -> datasets.Dataset | None:
    """Rows to set the threshold on, where they are not those that are evaluated.

    Raises ValueError: no such share of false alarms.
    """
    if not 0 <= args.false_alarm_rate < 100:
        raise ValueError(f"false_alarm_rate is {args.false_alarm_rate}; it must be from 0 to below 100 percent")
    return None if args.split == "validation" else _load_split(data, "validation")


def _open_set(args: argparse.Namespace, encoded: EncodedSplit, validation: datasets.Dataset | None) -> OpenSetRates:
    """Calibrate a threshold on validation and see how it does on the encoded split."""
    calibrating = encoded if validation is None else _encode(args, args.model, validation)[1]
    sides = [
        open_set_scores(split.text_embeds, split.image_embeds, split.text_person_ids, split.image_person_ids)
        for split in (calibrating, encoded)
    ]
    return open_set_rates(sides[1], calibrate_threshold(sides[0], args.false_alarm_rate))
