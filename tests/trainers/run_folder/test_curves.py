import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainers.run_folder import curves
from trainers.run_folder.curves import plot_methods
from trainers.run_folder.metrics_log import plot_curves


def train(stage: str, step: int, loss: float | None, rate: float = 1e-3):
    return {"stage": stage, "step": step, "split": "train", "loss": loss, "learning_rate": rate}


def validation(stage: str, step: int, rank_1: float, mean_average_precision: float = 10.0):
    return {"stage": stage, "step": step, "split": "validation", "R@1": rank_1, "mAP": mean_average_precision}


RECORDS = [
    {"stage": "zero-shot", "step": 0, "split": "test", "R@1": 9.0},
    *[train("one", step, 5 / step) for step in range(10, 50, 10)],
    validation("one", 40, 30.0),
    train("two", 10, None),
    *[train("two", step, 3 / step) for step in range(20, 50, 10)],
    validation("two", 20, 40.0),
    validation("two", 40, 41.0),
]


@pytest.fixture(autouse=True)
def blank_figures() -> None:
    """Here figures are rendered."""


def test_three_pictures_of_a_run_are_drawn(tmp_path: Path):
    written = plot_curves(RECORDS, tmp_path / "plots")
    assert [path.name for path in written] == ["loss.png", "learning_rate.png", "validation.png"]
    for path in written:
        with Image.open(path) as image:
            colours = image.convert("RGB").getcolors(maxcolors=image.width * image.height)
        assert min(image.size) > 400 and len(colours) > 50


def test_what_has_no_value_is_not_drawn(tmp_path: Path):
    assert plot_curves([], tmp_path) == []
    assert [path.name for path in plot_curves([validation("one", 1, 5.0)], tmp_path)] == ["validation.png"]
    only_nulls = [train("one", 1, None), {**validation("one", 1, None), "mAP": None}]
    assert [path.name for path in plot_curves(only_nulls, tmp_path)] == ["learning_rate.png"]


def test_validation_puts_stages_one_after_another():
    figure = curves._validation_figure(
        [row for row in RECORDS if row.get("split") == "validation"],
        curves._stage_starts([row for row in RECORDS if row.get("split") in ("train", "validation")]),
    )
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in figure.axes[0].lines]
    assert lines[:2] == [([40.0], [30.0]), ([60.0, 80.0], [40.0, 41.0])]
    assert [xs[0] for xs, _ in lines[4:]] == [0, 40]  # where the stages begin


def test_loss_has_a_panel_for_each_stage_and_a_gap_for_null():
    training = [row for row in RECORDS if row.get("split") == "train"]
    figure = curves._stage_figure(training, "loss", "loss", smooth=True)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss, stage one", "loss, stage two"]
    raw, smooth = figure.axes[1].lines
    assert np.isnan(raw.get_ydata()[0]) and list(smooth.get_xdata()) == [20, 30, 40]


def test_a_single_value_is_seen():
    rows = [train("one", 10, 2.0), *(train("two", step, 1.0) for step in (10, 20, 30))]
    for smooth in (True, False):
        figure = curves._stage_figure(rows, "loss", "loss", smooth=smooth)
        assert [axes.lines[-1].get_marker() for axes in figure.axes] == ["o", "None"]


def test_smoothing_keeps_a_constant_and_follows_a_step():
    np.testing.assert_allclose(curves.smoothed(np.full(40, 3.0)), 3.0)
    step = curves.smoothed(np.repeat([0.0, 1.0], 20))
    assert step[19] == 0 and 0 < step[20] < 0.5 and step[39] > 0.99


def test_smoothing_is_the_weighted_mean_of_all_values_so_far():
    values = np.array([4.0, 1.0, 7.0])
    weights = (2 / 3) ** np.arange(3)[::-1]
    assert curves.smoothed(values)[2] == pytest.approx(np.average(values, weights=weights))


@pytest.mark.slow
def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, trainers.run_folder.metrics_log; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_methods_are_compared_where_there_are_several(tmp_path):
    rows = [
        {"method": method, "split": split, "direction": "text_to_image", "metrics": {"R@1": value, "mAP": value / 2}}
        for method, split, value in (
            ("zero-shot", "test", 20.0),
            ("stage one", "validation", 30.0),
            ("direct", "test", 40.0),
        )
    ]
    assert plot_methods(rows[:2], tmp_path / "plots") is None and not (tmp_path / "plots").exists()
    assert plot_methods(rows, tmp_path / "plots") == tmp_path / "plots" / "methods.png"
    assert (tmp_path / "plots" / "methods.png").stat().st_size > 5000
