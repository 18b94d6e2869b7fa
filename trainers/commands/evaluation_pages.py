"""Pages of an evaluation that people look at: ranked strips, match and precision curves, distributions of scores."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import datasets
import numpy as np

from modeling_prompt_clip.retrieval import (
    EncodedSplit,
    OpenSetScores,
    QueryValues,
    RankCurves,
    open_set_scores,
    rank_curves,
    ranked_strips,
)
from modeling_prompt_clip.retrieval.pictures import LEGEND
from trainers.run_folder.curves import BLUE, INK, ORANGE, new_figure, prepare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STRIPS = 8  # captions a page


def draw_pages(
    encoded: EncodedSplit,
    values: QueryValues,
    dataset: datasets.Dataset,
    folder: str | Path,
    threshold: float | None = None,
    headline: str = "",
) -> list[Path]:
    """Draw the pages of text-to-image search on one split.

    `ranked_strips.png` shows captions drawn at random, `ranked_best.png`, `ranked_median.png` and `ranked_worst.png`
    those with the highest, middle and lowest average precision: a page of the best alone proves nothing.

    Args:
        encoded: the split as the model sees it.
        values: of its captions.
        dataset: the same split, for its images.
        folder: made if missing.
        threshold: of open-set search, drawn among the scores.
        headline: what the figures are of; above each page.

    Returns:
        The files written.

    Raises:
        OSError: the folder cannot be written.
        ImportError: matplotlib is missing; the extra `train` brings it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sides = (encoded.text_embeds, encoded.image_embeds, encoded.text_person_ids, encoded.image_person_ids)
    curves, scores = rank_curves(*sides), open_set_scores(*sides)
    before = "".join(f"{line}\n" for line in textwrap.wrap(headline, 110))
    random_title = f"{before}Captions drawn at random: {LEGEND}" if headline else ""
    strips = {"ranked_strips": ranked_strips(encoded, dataset, title=random_title)}
    for name, rows in chosen_queries(values, encoded.text_person_ids.numpy(), encoded.captions).items():
        title = f"{before}{len(rows)} persons' captions with the {name} average precision: {LEGEND}"
        strips[f"ranked_{name}"] = ranked_strips(encoded, dataset, rows, title=title)
    for name, page in strips.items():
        page.save(folder / f"{name}.png")
    plots = {"match_rates": _match_figure(curves), "precision_recall": _precision_figure(curves)}
    plots["scores"] = _score_figure(scores, threshold)
    for name, figure in plots.items():
        figure.suptitle("\n".join(textwrap.wrap(headline, 90)), fontsize=7, color=INK)
        figure.savefig(folder / f"{name}.png", dpi=150)
    return [folder / f"{name}.png" for name in (*strips, *plots)]


def chosen_queries(
    values: QueryValues, person_ids: np.ndarray, captions: Sequence[str], count: int = STRIPS
) -> dict[str, list[int]]:
    """Choose queries of the "best", "median" and "worst" average precision, each of another person.

    Args:
        values: of the queries.
        person_ids, captions: of all captions of the split.
        count: queries of each kind, at most.

    Returns: rows of captions, by falling precision; the worst first among the worst.
    """
    order = values.rows[np.argsort(-values.values[:, 3], kind="stable")]
    nearest = np.argsort(np.abs(np.arange(len(order)) - (len(order) - 1) / 2), kind="stable")
    places = {"best": range(len(order)), "median": nearest.tolist(), "worst": range(len(order) - 1, -1, -1)}
    chosen = {}
    for name, ranked in places.items():
        seen: dict[tuple[int, str], int] = {}
        for place in ranked:
            row = int(order[place])
            if not any(person == person_ids[row] or text == captions[row] for person, text in seen):
                seen[int(person_ids[row]), captions[row]] = place
            if len(seen) == count:
                break
        found = sorted(seen.values()) if name == "median" else list(seen.values())
        chosen[name] = [int(order[place]) for place in found]
    return chosen


def _match_figure(curves: RankCurves) -> "Figure":
    figure = new_figure(width=5)
    axes = figure.subplots()
    prepare(axes, "queries whose person is among the first k (percent)", "k")
    ranks = np.arange(1, len(curves.match_rates) + 1)
    axes.plot(ranks, curves.match_rates, color=BLUE, linewidth=2)
    axes.set(xlim=(0, len(ranks) + 1), ylim=(0, 102))
    for rank in (1, 5, 10):
        if rank <= len(ranks):
            rate = curves.match_rates[rank - 1]
            axes.plot(rank, rate, "o", color=ORANGE, markersize=5)
            axes.annotate(f"R@{rank} {rate:.1f}", (rank, rate), (7, -11), textcoords="offset points", fontsize=8)
    return figure


def _precision_figure(curves: RankCurves) -> "Figure":
    figure = new_figure(width=5)
    axes = figure.subplots()
    prepare(axes, "interpolated precision over recall (percent)", "recall: images of the person found")
    axes.plot(curves.recalls, curves.precisions, color=BLUE, linewidth=2)
    axes.set(xlim=(0, 101), ylim=(0, 102))
    return figure


def _score_figure(scores: OpenSetScores, threshold: float | None) -> "Figure":
    figure = new_figure(width=6)
    axes = figure.subplots()
    prepare(axes, "best score of the person described, and of anybody else (share of queries)", "cosine")
    right, wrong = (values[np.isfinite(values)] for values in (scores.right, scores.wrong))
    both = np.concatenate([right, wrong])
    bins = np.linspace(both.min(), both.max() + 1e-6, 60)
    for values, color, label in ((right, BLUE, "the person described"), (wrong, ORANGE, "anybody else")):
        weights = np.full(len(values), 1 / max(len(values), 1))
        axes.hist(values, bins, weights=weights, color=color, alpha=0.55, label=label)
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 3)), label=f"threshold {threshold:.3f}")
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


__all__ = ["chosen_queries", "draw_pages"]
