import json
import logging

import datasets
import pytest
import torch

from dataset_scripts import load_person_search
from modeling_prompt_clip.cli import main as prompt_clip
from published import metrics_elsewhere
from trainers.commands.demo import (
    RECIPE,
    SENTENCES,
    compare,
    direct_recipe,
    faster_precision,
    leave_a_core_to_the_loader,
    search_gallery,
)
from trainers.run_folder.folder import RunFolder


@pytest.fixture(scope="module")
def compared(tmp_path_factory, tiny_clip_folder, splits):
    """The comparison of the demo, at the size of a few steps."""
    recipe = {
        "base_model": str(tiny_clip_folder),
        "image_size": [96, 32],
        "output_dir": str(tmp_path_factory.mktemp("demo") / "run"),
        "batch_size": 4,
        "stage_one_max_steps": 2,
        "stage_two_max_steps": 3,
        "num_workers": 0,
        "report_to": "none",
    }
    return RunFolder(recipe["output_dir"]), compare(recipe, datasets.DatasetDict(splits))


def test_four_methods_are_compared_on_the_same_images(compared):
    run, results = compared
    assert list(results) == ["zero-shot", "stage one", "two-stage", "direct"]
    assert {(metrics.queries, metrics.gallery) for metrics in results.values()} == {(12, 6)}
    rows = [row for row in json.loads(run.results.read_text()) if row["split"] == "test"]
    recorded = {row["method"]: row["metrics"] for row in rows if row["direction"] == "text_to_image"}
    assert recorded == {method: metrics.to_dict() for method, metrics in results.items()}


def test_direct_fine_tuning_gets_the_steps_of_both_stages(compared):
    run, _ = compared
    direct = direct_recipe({"stage_one_max_steps": 2, "stage_two_max_steps": 3, "output_dir": "runs/x"})
    assert (direct["direct"], direct["stage_two_max_steps"]) == (True, 5)
    assert RunFolder(run.path / "direct").model.exists()


def test_three_sentences_are_searched_in_the_test_images(compared, splits):
    run, _ = compared
    answers = search_gallery(run, splits["test"], top=4)
    again = search_gallery(run, splits["test"], top=4)
    assert answers == again  # an older gallery is replaced
    assert all(f'"{sentence}": ' in answers for sentence in SENTENCES)
    assert len(list((run.path / "gallery").iterdir())) == 6
    assert (run.plots / "search.png").stat().st_size > 1000


def test_a_core_is_left_to_the_loader():
    before = torch.get_num_threads()
    try:
        leave_a_core_to_the_loader()
        assert 1 <= torch.get_num_threads() <= before
    finally:
        torch.set_num_threads(before)


def test_the_precision_is_one_that_accelerate_knows():
    assert faster_precision(repeats=1) in ("no", "bf16")


@pytest.mark.slow
def test_the_whole_demo_adapts_and_searches_and_is_published(tmp_path, capsys, caplog, hub):
    """Stage one at least 1.4 times, two-stage at least twice the zero-shot R@1 on persons never trained on; and who
    loads the published model without this package finds the run's own figures."""
    with caplog.at_level(logging.INFO):
        assert prompt_clip(["demo", "--output_dir", str(tmp_path / "run")]) == 0
    rows = json.loads((tmp_path / "run" / "results.json").read_text())
    tested = [row for row in rows if row["split"] == "test" and row["direction"] == "text_to_image"]
    rank_1 = {row["method"]: row["metrics"]["R@1"] for row in tested}
    assert rank_1["stage one"] >= 1.4 * rank_1["zero-shot"]
    assert rank_1["two-stage"] >= 2 * rank_1["zero-shot"]
    assert "zero-shot" in capsys.readouterr().out
    assert prompt_clip(["push", str(tmp_path / "run"), "--repo", "alice/demo"]) == 0
    reported = next(row["metrics"] for row in tested if row["method"] == "two-stage")
    (tmp_path / "reader").mkdir()
    found = metrics_elsewhere(hub, "alice/demo", load_person_search(RECIPE, None, "test"), tmp_path / "reader")
    assert found == pytest.approx({name: reported[name] for name in found}, abs=0.05)
