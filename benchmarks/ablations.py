"""What does each optional setting do to the demo's recipe?

Every variant changes the synthetic set's recipe in one point and is trained with several seeds; those that differ in
stage two alone start from the same stage-one adapters. R@1, text to image: validation along stage one, test at the
end. About two minutes a variant and seed on two cores. Goes on where it was stopped, and adds to
benchmarks/results/ablations.json.
"""

import argparse
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import datasets
import torch

from dataset_scripts import load_person_search
from modeling_prompt_clip.retrieval import TextToImageEvaluator
from record import RESULTS, write_record
from trainers.arguments import TwoStageTrainingArguments
from trainers.base_model import load_base, new_prompt_config, prompted_model
from trainers.demo import RECIPE, faster_precision, leave_a_core_to_the_loader
from trainers.recipes import read_recipe
from trainers.tracking import read_metrics
from trainers.two_stage import TwoStageTrainer

EARLY = 50  # steps of stage one after which a first look is taken

# name -> what differs from the recipe
STAGE_ONE: dict[str, dict[str, Any]] = {
    "recipe": {},
    "activations": {"prompt_init": "activations"},
    "activations, three times the rate": {"prompt_init": "activations", "stage_one_learning_rate": 1.5e-2},
}
STAGE_TWO: dict[str, dict[str, Any]] = {}
VARIANTS = STAGE_ONE | STAGE_TWO


def before_first_step(args: TwoStageTrainingArguments, splits: datasets.DatasetDict) -> float:
    """Validation R@1 of the frozen model with fresh prompts."""
    model, processor = load_base(args)
    torch.manual_seed(args.seed)
    prompted = prompted_model(args, model, processor, new_prompt_config(args, model), splits["train"])
    return TextToImageEvaluator(splits["validation"], processor, progress=False)(prompted)["text_to_image"].rank_1


def run_variant(name: str, seed: int, folder: Path, splits: datasets.DatasetDict) -> dict[str, float]:
    """Train a variant with a seed; returns its figures in percent."""
    recipe = read_recipe(RECIPE) | {"mixed_precision": faster_precision(), "report_to": "none", "seed": seed}
    recipe |= {"output_dir": str(folder / f"{name}-{seed}"), "resume": "auto"} | VARIANTS[name]
    figures = {}
    if name in STAGE_TWO:
        adapter = folder / f"recipe-{seed}" / "adapter"
        if not adapter.exists():
            raise OSError(f"{adapter} is missing: run the variant 'recipe' with seed {seed} first")
        recipe |= {"stages": ["two"], "adapter": str(adapter)}
    else:
        recipe["eval_steps"] = EARLY
        figures["validation, before the first step"] = before_first_step(TwoStageTrainingArguments(**recipe), splits)
    test = TwoStageTrainer(TwoStageTrainingArguments(**recipe), splits=splits).train()["text_to_image"]
    log = read_metrics(Path(recipe["output_dir"], "metrics.jsonl"))
    scores = {row["step"]: row["R@1"] for row in log if row["split"] == "validation" and row["stage"] == "one"}
    if scores:
        figures[f"validation, after {EARLY} steps"] = scores[EARLY]
        figures["validation, end of stage one"] = scores[max(scores)]
    shutil.rmtree(Path(recipe["output_dir"], "model"))
    return {name: round(value, 2) for name, value in (figures | {"test, end": test.rank_1}).items()}


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


if __name__ == "__main__":
    main()
