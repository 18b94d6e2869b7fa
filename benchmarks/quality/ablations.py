"""What does each optional setting do to the demo's recipe?

Every variant changes the synthetic set's recipe in one point, low-rank updates also in the learning rate, and is
trained with several seeds; those that differ in stage two alone start from the same stage-one adapters. R@1, text to
image: validation on the way, test at the end. About two minutes a variant and seed on two cores. Goes on where it was
stopped, adds to benchmarks/results/ablations.json, and prints what is there as a table.
"""

import argparse
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import datasets
import torch

from benchmarks.record import RESULTS, write_record
from dataset_scripts import load_person_search
from modeling_prompt_clip.retrieval import TextToImageEvaluator
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.commands.demo import RECIPE, faster_precision, leave_a_core_to_the_loader
from trainers.configs.recipes import read_recipe
from trainers.run_folder.metrics_log import read_metrics
from trainers.stages.starting_model import load_base, new_prompt_config, prompted_model
from trainers.two_stage import TwoStageTrainer

EARLY = 50  # steps of stage one after which a first look is taken

# name -> what differs from the recipe
STAGE_ONE: dict[str, dict[str, Any]] = {
    "recipe": {},
    "activations": {"prompt_init": "activations"},
    "activations, three times the rate": {"prompt_init": "activations", "stage_one_learning_rate": 1.5e-2},
    "coupled prompts": {"coupled_prompts": True},
    "learned temperature": {"learn_temperature": True},
}
STAGE_TWO: dict[str, dict[str, Any]] = {
    "itc": {"stage_two_objectives": {"itc": 1.0}},
    "itc, label smoothing 0.1": {"stage_two_objectives": {"itc": 1.0}, "label_smoothing": 0.1},
    "ema 0.99": {"ema_decay": 0.99},
    "layer decay 0.75": {"layer_lr_decay": 0.75},
    # low-rank updates want another rate than whole matrices: of these, validation chooses, with seed 0
    "lora 8, the recipe's rate": {"stage_two_lora_rank": 8},
    "lora 8, three times the rate": {"stage_two_lora_rank": 8, "stage_two_learning_rate": 1.2e-3},
    "lora 8, ten times the rate": {"stage_two_lora_rank": 8, "stage_two_learning_rate": 4e-3},
}
VARIANTS = STAGE_ONE | STAGE_TWO
BASES = {"itc, label smoothing 0.1": "itc"}  # what a variant is compared with, where it is not the recipe
ALONG_STAGE_ONE = (
    "validation, before the first step",
    f"validation, after {EARLY} steps",
    "validation, end of stage one",
)
TEST = "test, end"


def before_first_step(args: TwoStageTrainingArguments, splits: datasets.DatasetDict) -> float:
    """Validation R@1 of the frozen model with fresh prompts."""
    model, processor = load_base(args)
    torch.manual_seed(args.seed)
    prompted = prompted_model(args, model, processor, new_prompt_config(args, model), splits["train"])
    evaluator = TextToImageEvaluator(splits["validation"], processor, progress=False)
    return evaluator(prompted)[evaluator.primary_metric]


def run_variant(name: str, seed: int, folder: Path, splits: datasets.DatasetDict) -> dict[str, float]:
    """Train a variant with one seed; return its metrics in percent."""
    recipe = read_recipe(RECIPE) | {"mixed_precision": faster_precision(), "report_to": "none", "seed": seed}
    recipe |= {"output_dir": str(folder / f"{name}-{seed}"), "resume": "auto", "eval_steps": EARLY}
    recipe |= VARIANTS[name]
    figures = {}
    if name in STAGE_TWO:
        adapter = folder / f"recipe-{seed}" / "adapter"
        if not adapter.exists():
            raise OSError(f"{adapter} is missing: run the variant 'recipe' with seed {seed} first")
        recipe |= {"stages": ["two"], "adapter": str(adapter)}
    else:
        figures[ALONG_STAGE_ONE[0]] = before_first_step(TwoStageTrainingArguments(**recipe), splits)
    test = TwoStageTrainer(TwoStageTrainingArguments(**recipe), splits=splits).train()["text_to_image"]
    log = read_metrics(Path(recipe["output_dir"], "metrics.jsonl"))
    scores = {(row["stage"], row["step"]): row["R@1"] for row in log if row["split"] == "validation" and row["step"]}
    if ("one", EARLY) in scores:
        figures[ALONG_STAGE_ONE[1]] = scores["one", EARLY]
        figures[ALONG_STAGE_ONE[2]] = scores[max(key for key in scores if key[0] == "one")]
    figures["validation, best of stage two"] = max(score for (stage, _), score in scores.items() if stage == "two")
    shutil.rmtree(Path(recipe["output_dir"], "model"))
    return {name: round(value, 2) for name, value in (figures | {TEST: test.rank_1}).items()}


def markdown(variants: dict[str, dict[str, Any]]) -> str:
    """A table of test metrics by seed, and of the gains over the base with equal seeds."""
    lines = ["| variant | test R@1 by seed | mean | gain, mean (least to most) |", "|---|---|---:|---:|"]
    for name, variant in variants.items():
        figures = {seed: each[TEST] for seed, each in variant["by_seed"].items()}
        base = BASES.get(name, "recipe")
        others = variants.get(base, {"by_seed": {}})["by_seed"]
        gains = [value - others[seed][TEST] for seed, value in figures.items() if seed in others and name != base]
        gain = f"{statistics.mean(gains):+.2f} ({min(gains):+.2f} to {max(gains):+.2f})" if gains else ""
        by_seed = ", ".join(f"{value:.2f}" for value in figures.values())
        against = f", over {base}" if base != "recipe" else ""
        lines.append(f"| {name} | {by_seed} | {statistics.mean(figures.values()):.2f} | {gain}{against} |")
    return "\n".join(lines)


def stage_one_markdown(variants: dict[str, dict[str, Any]]) -> str:
    """A table of metrics during stage one, for variants that change it: mean (least to most)."""
    changed = {name: list(variant["by_seed"].values()) for name, variant in variants.items() if name in STAGE_ONE}
    columns = [*ALONG_STAGE_ONE, TEST]
    lines = [f"| variant | seeds | {' | '.join(columns)} |", "|---|---:|" + "---:|" * len(columns)]
    for name, seeds in changed.items():
        values = [[figures[column] for figures in seeds] for column in columns]
        cells = [f"{statistics.mean(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in values]
        lines.append(f"| {name} | {len(seeds)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="train with the seeds 0 to SEEDS - 1")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="all when left out")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/ablations"), help="where the runs are kept")
    options = parser.parse_args()
    leave_a_core_to_the_loader()
    splits = load_person_search(RECIPE, None, None)
    path = RESULTS / "ablations.json"
    variants = json.loads(path.read_text())["variants"] if path.exists() else {}
    for name in options.variants:
        figures = variants.setdefault(name, {"differs": VARIANTS[name], "by_seed": {}})["by_seed"]
        for seed in range(options.seeds):
            if str(seed) not in figures:
                figures[str(seed)] = run_variant(name, seed, options.output_dir, splits)
                write_record(
                    "ablations", __doc__.splitlines()[0], ("torch", "transformers", "peft"), variants=variants
                )
    for name in options.variants:
        by_seed = variants[name]["by_seed"].values()
        means = {key: statistics.mean(figures[key] for figures in by_seed) for key in next(iter(by_seed))}
        print(f"{name:40}" + "  ".join(f"{key} {value:5.2f}" for key, value in means.items()))
    print(markdown(variants), stage_one_markdown(variants), sep="\n\n")


if __name__ == "__main__":
    main()
