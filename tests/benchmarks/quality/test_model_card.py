"""model_card.md is what the committed results give, and its code runs."""

import json
import re
import shutil

import pytest
from huggingface_hub import ModelCard

from benchmarks.quality import model_card as script
from benchmarks.record import RESULTS, ROOT
from modeling_prompt_clip import PromptCLIPModel


def test_the_document_is_what_the_code_writes():
    found, expected = (ROOT / "model_card.md").read_text(), script.card()
    assert found == expected, "model_card.md is stale; run python -m benchmarks.quality.model_card"


def test_its_head_and_its_figures_are_those_of_the_results(hub):
    card = ModelCard.load(ROOT / "model_card.md")
    card.validate()
    rows = json.loads((RESULTS / "demo" / "results.json").read_text())
    tested = {row["method"]: row for row in rows if (row["split"], row["direction"]) == ("test", "text_to_image")}
    found = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert found == {name: round(tested["two-stage"]["metrics"][name], 2) for name in found} and len(found) == 5
    for method, row in tested.items():
        low, high = row["intervals"]["mAP"]
        assert re.search(
            rf"\| {method} \| .* \| {row['metrics']['mAP']:.2f} \({low:.2f} to {high:.2f}\) \|", card.text
        )
    seeds = json.loads((RESULTS / "two_stage.json").read_text())["test_figures_by_seed"]
    for method, figures in seeds.items():  # the demo is the run with seed 0
        assert f"| {method} | {', '.join(f'{value:.2f}' for value in figures['R@1'])} |" in card.text
        assert figures["R@1"][0] == round(tested[method]["metrics"]["R@1"], 2)
    for name in ("CUHK-PEDES", "ICFG-PEDES", "RSTPReid"):
        assert f"| {name} |{' not measured |' * 5}\n" in card.text
    assert (
        "nothing here shows that two stages beat one" in card.text and "{" not in card.text.partition("```bibtex")[0]
    )


def test_committed_results_name_no_place():
    for path in (RESULTS / "demo").rglob("*.*"):
        assert not re.search(r"/(home|root|tmp|work)\b|^output_dir", path.read_text(), flags=re.MULTILINE), path


def test_its_code_runs(tiny_folder, tmp_path, monkeypatch):
    shutil.copytree(tiny_folder, tmp_path / "runs" / "demo" / "model")
    monkeypatch.chdir(tmp_path)
    load, use = re.findall(r"```python\n(.*?)```", (ROOT / "model_card.md").read_text(), flags=re.DOTALL)
    there = {}
    exec(load + use, there)
    assert isinstance(there["model"], PromptCLIPModel) and there["scores"].shape == (1, 1)


def test_sentences_hold_only_for_the_figures_they_were_written_for():
    seeds = json.loads((RESULTS / "two_stage.json").read_text())["test_figures_by_seed"]
    comparison = json.loads((RESULTS / "demo" / "comparison.json").read_text())["two_stage_minus_direct"]
    assert "Person by person" in script.reading(seeds, comparison)
    ahead = seeds | {"two-stage": {name: [value + 5 for value in each] for name, each in seeds["two-stage"].items()}}
    with pytest.raises(ValueError, match="no longer holds"):
        script.reading(ahead, comparison)
    with pytest.raises(ValueError, match="no longer holds"):
        script.reading(seeds, comparison | {"mAP": {"difference": 1.0, "interval": [-1.0, 3.0]}})


def test_a_run_that_does_not_give_its_own_figures_is_refused():
    class Values:
        def mean(self):
            return self

        def to_dict(self):
            return dict.fromkeys(script.METRICS, 50.0)

    row = {"split": "test", "direction": "text_to_image", "method": "direct", "metrics": {"R@1": 51.0}}
    with pytest.raises(ValueError, match="the direct model gives other figures"):
        script.with_intervals(row, {"direct": Values()})
    assert script.with_intervals(row | {"split": "validation"}, {}) == row | {"split": "validation"}
