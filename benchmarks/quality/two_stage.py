"""Do prompts adapt a frozen CLIP, and does two-stage training beat direct fine-tuning with as many steps?

The demo's recipe on the synthetic set with several seeds; test figures, text to image. About four minutes a seed on
two cores. Writes benchmarks/results/two_stage.json.
"""

import argparse
import statistics
import tempfile

import torch

from benchmarks.record import write_record
from dataset_scripts import load_person_search
from trainers.commands.demo import RECIPE, compare, faster_precision, leave_a_core_to_the_loader
from trainers.configs.recipes import read_recipe

METRICS = ("R@1", "R@5", "R@10", "mAP", "mINP")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="train with the seeds 0 to SEEDS - 1")
    seeds = range(parser.parse_args().seeds)
    leave_a_core_to_the_loader()
    recipe = read_recipe(RECIPE) | {"mixed_precision": faster_precision(), "report_to": "none"}
    splits = load_person_search(RECIPE, None, None)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            results = compare(recipe | {"seed": seed, "output_dir": f"{folder}/{seed}"}, splits)
            runs.append({method: metrics.to_dict() for method, metrics in results.items()})
    table = {method: {name: [round(run[method][name], 2) for run in runs] for name in METRICS} for method in runs[0]}
    settings = ("stage_one_max_steps", "stage_two_max_steps", "batch_size", "mixed_precision")
    write_record(
        "two_stage",
        __doc__.splitlines()[0],
        ("torch", "transformers", "peft", "accelerate"),
        threads_used=torch.get_num_threads(),
        settings={name: recipe[name] for name in settings},
        test_figures_by_seed=table,
    )
    for method, figures in table.items():
        means = "  ".join(f"{name} {statistics.mean(values):5.2f}" for name, values in figures.items())
        print(f"{method:10}{means}   R@1 by seed: {figures['R@1']}")


if __name__ == "__main__":
    main()
