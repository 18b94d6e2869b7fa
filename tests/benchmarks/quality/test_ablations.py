"""The ablations: their variants are settings that a run takes, and the table compares equal seeds."""

import json
from dataclasses import fields
from pathlib import Path
from statistics import mean

from benchmarks.quality import ablations
from trainers.arguments.settings import TwoStageTrainingArguments


def test_every_variant_is_a_setting_that_a_run_takes():
    for name, differs in ablations.VARIANTS.items():
        rest = {"stages": ["two"], "adapter": "runs/x/adapter"} if name in ablations.STAGE_TWO else {}
        TwoStageTrainingArguments(**rest, **differs)
        assert not {"stage_one_objectives", "coupled_prompts", "prompt_init"} & differs.keys() or not rest, name


def test_the_table_compares_equal_seeds_with_the_right_base():
    def runs(**figures):
        return {"by_seed": {seed[1:]: {ablations.TEST: value} for seed, value in figures.items()}}

    variants = {
        "recipe": runs(s0=50.0, s1=60.0, s2=70.0),
        "itc": runs(s0=40.0),
        "ema 0.99": runs(s0=51.0, s1=58.0),
        "itc, label smoothing 0.1": runs(s0=43.0),
    }
    lines = ablations.markdown(variants).split("\n")[2:]
    assert lines == [
        "| recipe | 50.00, 60.00, 70.00 | 60.00 |  |",
        "| itc | 40.00 | 40.00 | -10.00 (-10.00 to -10.00) |",
        "| ema 0.99 | 51.00, 58.00 | 54.50 | -0.50 (-2.00 to +1.00) |",
        "| itc, label smoothing 0.1 | 43.00 | 43.00 | +3.00 (+3.00 to +3.00), over itc |",
    ]


def test_the_table_along_stage_one_has_the_variants_that_change_it():
    def figures(*values):
        return dict(zip((*ablations.ALONG_STAGE_ONE, ablations.TEST), values, strict=True))

    variants = {
        "recipe": {"by_seed": {"0": figures(10.0, 20.0, 30.0, 40.0), "1": figures(12.0, 20.0, 33.0, 41.0)}},
        "itc": {"by_seed": {"0": {ablations.TEST: 40.0}}},
    }
    head, _, *rows = ablations.stage_one_markdown(variants).split("\n")
    assert head.startswith("| variant | seeds | validation, before the first step | validation, after 50 steps |")
    assert rows == [
        "| recipe | 2 | 11.00 (10.00 to 12.00) | 20.00 (20.00 to 20.00) | 31.50 (30.00 to 33.00) "
        "| 40.50 (40.00 to 41.00) |"
    ]


def test_the_settings_that_lost_are_called_experimental():
    results = Path(__file__).parents[3] / "benchmarks" / "results" / "ablations.json"
    variants = json.loads(results.read_text())["variants"]
    best = {}  # gain over the same seeds of its base, by setting; rates were only tuned for it
    for name, variant in variants.items():
        base = variants["itc" if name.startswith("itc,") else "recipe"]["by_seed"]
        gain = mean(row[ablations.TEST] - base[seed][ablations.TEST] for seed, row in variant["by_seed"].items())
        for setting in variant["differs"].keys() - {"stage_one_learning_rate", "stage_two_learning_rate"}:
            best[setting] = max(gain, best.get(setting, gain))
    experimental = {
        each.name
        for each in fields(TwoStageTrainingArguments)
        if each.metadata["rule"].experimental or "(experimental)" in each.metadata["help"]
    }
    assert experimental == {setting for setting, gain in best.items() if gain < 0}
