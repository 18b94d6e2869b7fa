"""`prompt-clip demo`: the whole job on a synthetic set, from drawing it to searching it by sentence."""

import logging
import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import torch

from dataset_scripts import load_person_search
from dataset_scripts.builders.export import export_images
from dataset_scripts.common.installing import command_name
from modeling_prompt_clip.loading import load_model
from modeling_prompt_clip.retrieval import (
    FolderSearcher,
    RetrievalMetrics,
    SheetRow,
    TextToImageEvaluator,
    Tile,
    contact_sheet,
    metrics_table,
)
from modeling_prompt_clip.retrieval.pictures import thumbnail
from modeling_prompt_clip.retrieval.search import read_image
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.commands.parsers.demo import parse
from trainers.configs.recipes import read_recipe
from trainers.data.split_facts import evaluation_facts
from trainers.run_folder.folder import RunFolder
from trainers.run_folder.lock import only_writer
from trainers.two_stage import TwoStageTrainer

logger = logging.getLogger(__name__)

RECIPE = "synthetic_pedes"
SENTENCES = (  # each fits somebody in the test split
    "a person in a red coat and a white skirt",
    "someone with a yellow umbrella",
    "a pedestrian in a yellow jacket and jeans, with a blue backpack",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, train, compare and search; the answer on stdout is one table and the hits of three sentences.

    Raises OSError: the run folder is taken or cannot be written.
    """
    options = parse(argv)
    started = time.monotonic()
    recipe = read_recipe(RECIPE) | {"output_dir": options.output_dir, "seed": options.seed}
    recipe["overwrite_output_dir"] = options.overwrite_output_dir
    recipe["mixed_precision"] = faster_precision()
    leave_a_core_to_the_loader()
    run = RunFolder(options.output_dir)
    run.check_free(options.overwrite_output_dir)
    with only_writer(run.path):
        logger.info("drawing the synthetic set (kept for the next time)")
        splits = load_person_search(RECIPE, None, None, **recipe.get("dataset_options", {}))
        results = compare(recipe, splits)
        logger.info("searching the test images by sentence")
        answers = search_gallery(run, splits["test"])
    sys.stdout.write(f"{metrics_table(results)}\n\n{answers}")
    logger.info("done in %.0f s; look into %s", time.monotonic() - started, run.plots)
    logger.info(
        'next, search your own pictures: %s search %s --gallery FOLDER "a woman in a green coat"',
        command_name(),
        shlex.quote(str(run.path)),
    )
    return 0


def compare(recipe: dict[str, Any], splits: datasets.DatasetDict) -> dict[str, RetrievalMetrics]:
    """Train by a recipe, and directly with as many steps; test both, and what came before, on the same images.

    Args:
        recipe: settings by name, with `output_dir` and the steps of both stages.
        splits: train, validation and test.

    Returns:
        Test metrics, text to image, of "zero-shot", "stage one", "two-stage" and "direct"; they are in the run's
        `results.json` too.
    """
    run = RunFolder(recipe["output_dir"])
    logger.info("two-stage training: prompts in a frozen CLIP, then CLIP with the prompts fixed")
    two_stage = train(recipe, splits)
    logger.info("direct fine-tuning with as many steps, for comparison")
    direct = train(direct_recipe(recipe), splits)
    logger.info("testing each of them on %d persons never trained on", len(set(splits["test"]["person_id"])))
    results = {
        "zero-shot": metrics_of(recipe["base_model"], splits["test"], tuple(recipe["image_size"])),
        "stage one": metrics_of(str(run.adapter), splits["test"]),
        "two-stage": two_stage,
        "direct": direct,
    }
    facts = evaluation_facts(splits["test"], "test", recipe["image_size"], recipe.get("dataset_options"))
    run.record([result_row(method, metrics, facts) for method, metrics in results.items() if method != "two-stage"])
    run.draw_curves()
    return results


def leave_a_core_to_the_loader() -> None:
    """Train on all cores but one, on which a worker prepares images: threads that wait for a core stall the others."""
    torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) - 1)))


def faster_precision(repeats: int = 5) -> str:
    """`"bf16"` where this machine multiplies bfloat16 matrices faster than float32 ones, else `"no"`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    seconds = {}
    for precision, dtype in (("no", torch.float32), ("bf16", torch.bfloat16)):
        matrix = torch.ones(1024, 1024, dtype=dtype, device=device)
        float((matrix @ matrix)[0, 0])  # the first product sets things up; reading a number waits for the device
        started = time.perf_counter()
        for _ in range(repeats):
            float((matrix @ matrix)[0, 0])
        seconds[precision] = time.perf_counter() - started
    return min(seconds, key=seconds.__getitem__)


def train(recipe: dict[str, Any], splits: datasets.DatasetDict) -> RetrievalMetrics:
    """Train by a recipe; returns the test metrics, text to image."""
    return TwoStageTrainer(TwoStageTrainingArguments(**recipe), splits=splits).train()["text_to_image"]


def direct_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    """Direct fine-tuning with as many steps as both stages of `recipe` together."""
    steps = recipe["stage_one_max_steps"] + recipe["stage_two_max_steps"]
    folder = str(Path(recipe["output_dir"]) / "direct")
    return recipe | {"direct": True, "stage_two_max_steps": steps, "output_dir": folder}


def metrics_of(model: str, dataset: datasets.Dataset, image_size: tuple[int, int] | None = None) -> RetrievalMetrics:
    """Metrics of a model on a split, text to image."""
    loaded, processor = load_model(model, image_size=image_size)
    return TextToImageEvaluator(dataset, processor).by_direction(loaded)["text_to_image"]


def result_row(method: str, metrics: RetrievalMetrics, facts: dict[str, Any]) -> dict[str, Any]:
    """A row of `results.json`."""
    stage = {"zero-shot": "base", "stage one": "one", "direct": "two"}[method]
    return {
        "stage": stage,
        "method": method,
        "split": "test",
        "direction": "text_to_image",
        **facts,
        "metrics": metrics.to_dict(),
    }


def search_gallery(run: RunFolder, dataset: datasets.Dataset, top: int = 8) -> str:
    """Write the images of a split to `gallery`, search them by three sentences, draw and list the hits."""
    folder = run.path / "gallery"
    shutil.rmtree(folder, ignore_errors=True)
    export_images(dataset, folder)
    searcher = FolderSearcher(*load_model(str(run.path)), folder)
    rows, lines = [], []
    for sentence in SENTENCES:
        hits = searcher.search(sentence, top)
        rows.append(
            SheetRow(sentence, [Tile(thumbnail(read_image(hit.path)), None, f"{hit.score:.2f}") for hit in hits])
        )
        found = ", ".join(f"{hit.path.name} ({hit.score:.2f})" for hit in hits[:3])
        lines.append(f'"{sentence}": {found}, ...\n')
    contact_sheet(rows).save(run.plots / "search.png")
    return "".join(lines)


__all__ = ["compare", "faster_precision", "leave_a_core_to_the_loader", "main"]
