"""Plots of a run: loss and learning rate by stage, validation over the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Records = Sequence[Mapping[str, Any]]
INK, GRID = "#333333", "#e3e3e3"
BLUE, ORANGE = "#1f6fb4", "#d9731a"  # apart in lightness too, for print and for colour-blind readers


def plot_curves(records: Records, folder: str | Path) -> list[Path]:
    """Draw `loss.png`, `learning_rate.png` and `validation.png` from a run's records.

    A record with `split` "train" may hold `loss` and `learning_rate`, one with `split` "validation" `R@1` and `mAP` in
    percent. Steps count within a stage; the validation plot concatenates the stages. Nulls leave gaps; a plot without
    values is not drawn.

    Args:
        records: from `trainers.run_folder.metrics_log.read_metrics`.
        folder: created if missing.

    Returns:
        The files written.

    Raises:
        OSError: the folder cannot be written.
        ImportError: matplotlib is missing; the extra `train` brings it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    training = [record for record in records if record.get("split") == "train"]
    validation = [record for record in records if record.get("split") == "validation"]
    figures = {
        "loss": _stage_figure(training, "loss", "training loss", smooth=True),
        "learning_rate": _stage_figure(training, "learning_rate", "learning rate", smooth=False),
        "validation": _validation_figure(validation, _stage_starts(training + validation)),
    }
    written = []
    for name, figure in figures.items():
        if figure is not None:
            written.append(folder / f"{name}.png")
            figure.savefig(written[-1], dpi=150)
    return written


def plot_methods(rows: Records, folder: str | Path) -> Path | None:
    """Draw `methods.png`, R@1 and mAP of each method on the test split, from the rows of `results.json`.

    Returns: the file; None for fewer than two methods.

    Raises OSError, ImportError: as [`plot_curves`].
    """
    found = {
        str(row["method"]): row
        for row in rows
        if row.get("split") == "test" and row.get("direction", "text_to_image") == "text_to_image" and "method" in row
    }
    if len(found) < 2:
        return None
    figure = new_figure(width=2 + 1.2 * len(found))
    axes = figure.subplots()
    prepare(axes, "test split, text to image (percent)", "")
    axes.set_axisbelow(True)
    places = np.arange(len(found))
    for offset, (name, color) in zip((-0.2, 0.2), (("R@1", BLUE), ("mAP", ORANGE)), strict=True):
        heights = [float(row.get("metrics", {}).get(name) or 0) for row in found.values()]
        bars = axes.bar(places + offset, heights, 0.36, color=color, label=name)
        axes.bar_label(bars, fmt="%.1f", fontsize=8, color=INK)
    axes.set_xticks(places, list(found))
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper left")
    path = Path(folder) / "methods.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def smoothed(values: np.ndarray) -> np.ndarray:
    """Average exponentially over a tenth of the values, at least 5, without bias to 0.

    Args:
        values: `[points]`, finite.
    """
    decay = 1 - 2 / (max(5, len(values) / 10) + 1)
    average, result = 0.0, np.empty(len(values))
    for position, value in enumerate(values):
        average = decay * average + (1 - decay) * value
        result[position] = average / (1 - decay ** (position + 1))
    return result


def _stage_starts(records: Records) -> dict[str, int]:
    """Count the steps of all stages before each stage, in order of appearance."""
    lengths: dict[str, int] = {}
    for record in records:
        lengths[record["stage"]] = max(lengths.get(record["stage"], 0), record["step"])
    starts = np.cumsum([0, *lengths.values()])
    return {stage: int(start) for stage, start in zip(lengths, starts, strict=False)}


def _series(records: Records, stage: str, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values, `[points]` each, of a stage's records with `key`; null is NaN."""
    points = [(record["step"], record[key]) for record in records if record["stage"] == stage and key in record]
    steps, values = np.array(points, dtype=float).reshape(-1, 2).T
    return steps, values


def _stage_figure(records: Records, key: str, title: str, smooth: bool) -> "Figure | None":
    """Draw one panel a stage, because scales differ between stages; None without a value."""
    series = {stage: _series(records, stage, key) for stage in _stage_starts(records)}
    series = {stage: curve for stage, curve in series.items() if np.isfinite(curve[1]).any()}
    if not series:
        return None
    figure = new_figure(width=1 + 4 * len(series))
    panels = figure.subplots(1, len(series), squeeze=False)[0]
    for axes, (stage, (steps, values)) in zip(panels, series.items(), strict=True):
        prepare(axes, f"{title}, stage {stage}", "step in the stage")
        marker = "o" if len(steps) < 3 else None  # a single point is no line
        if not smooth:
            axes.plot(steps, values, color=BLUE, linewidth=2, marker=marker)
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter("{x:.2g}")
            continue
        finite = np.isfinite(values)
        axes.plot(steps, values, color=BLUE, alpha=0.35, linewidth=1, label="as logged")
        axes.plot(steps[finite], smoothed(values[finite]), color=BLUE, linewidth=2, marker=marker, label="smoothed")
        axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def _validation_figure(records: Records, starts: Mapping[str, int]) -> "Figure | None":
    """Draw R@1 and mAP over the run with a line at each stage; None without a value."""
    curves = {name: [_series(records, stage, name) for stage in starts] for name in ("R@1", "mAP")}
    if not any(np.isfinite(values).any() for series in curves.values() for _, values in series):
        return None
    figure = new_figure(width=7)
    axes = figure.subplots()
    prepare(axes, "validation, text to image (percent)", "step of the run")
    for (name, series), color in zip(curves.items(), (BLUE, ORANGE), strict=True):
        for number, (start, (steps, values)) in enumerate(zip(starts.values(), series, strict=True)):
            label = name if number == 0 else None
            axes.plot(start + steps, values, color=color, linewidth=2, marker="o", markersize=4, label=label)
    for stage, start in starts.items():
        axes.axvline(start, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        top = axes.get_xaxis_transform()
        axes.text(start, 1.0, f" stage {stage}", transform=top, color=INK, fontsize=8, va="top")
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="best")
    return figure


def new_figure(width: float) -> "Figure":
    """Make an empty figure, `width` inches wide, outside pyplot: no display, nothing stays open.

    Raises ImportError: matplotlib is missing; the extra `train` brings it.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, 3.4), layout="constrained")


def prepare(axes: "Axes", title: str, xlabel: str) -> None:
    """Set title, label and a quiet style."""
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(xlabel, fontsize=9, color=INK)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.tick_params(labelsize=8, colors=INK, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(INK)


__all__ = ["BLUE", "INK", "ORANGE", "new_figure", "plot_curves", "plot_methods", "prepare", "smoothed"]
