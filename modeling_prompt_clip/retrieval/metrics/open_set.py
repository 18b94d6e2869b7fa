"""Open-set rates: the described person may not be in the gallery.

A query is answered only if its best score reaches a threshold, calibrated on one split (validation) to a false-alarm
rate and measured on another (test). Each query is used twice: with its person in the gallery, and without. The rates
are the false positive and false negative identification rates of biometrics (ISO/IEC 19795-1).
"""

from dataclasses import dataclass

import numpy as np
import torch

from modeling_prompt_clip.retrieval.metrics.ranking import Embeddings, PersonIds, prepared, score_blocks

__all__ = ["OpenSetRates", "OpenSetScores", "calibrate_threshold", "open_set_rates", "open_set_scores"]


@dataclass(frozen=True)
class OpenSetScores:
    """Best scores of each query."""

    right: np.ndarray  # `[queries]` best score of the query's person; -inf if not in the gallery
    wrong: np.ndarray  # `[queries]` best score of anybody else; -inf if there is nobody else


@dataclass(frozen=True)
class OpenSetRates:
    """Error rates of a threshold, in percent."""

    threshold: float  # lowest score that is answered
    false_alarm_rate: float  # share of queries answered although their person is not in the gallery
    miss_rate: float  # share of queries whose person is in the gallery but not first, or below the threshold


def open_set_scores(
    query_embeds: Embeddings,
    gallery_embeds: Embeddings,
    query_person_ids: PersonIds,
    gallery_person_ids: PersonIds,
    *,
    block_size: int = 1024,
) -> OpenSetScores:
    """Each query's best scores with and without its person; arguments as `retrieval_metrics`."""
    queries, gallery, relevant = prepared(query_embeds, gallery_embeds, query_person_ids, gallery_person_ids)
    right, wrong = [], []
    for rows, scores in score_blocks(queries, gallery, np.arange(len(queries)), block_size):
        starts, counts = (torch.from_numpy(values[rows, None]) for values in (relevant.starts, relevant.counts))
        column = torch.arange(scores.shape[1])
        own = ((column >= starts) & (column < starts + counts)).to(scores.device)
        right.append(scores.masked_fill(~own, -torch.inf).amax(dim=1).cpu())
        wrong.append(scores.masked_fill(own, -torch.inf).amax(dim=1).cpu())
    return OpenSetScores(torch.cat(right).numpy(), torch.cat(wrong).numpy())


def calibrate_threshold(scores: OpenSetScores, false_alarm_rate: float = 1.0) -> float:
    """Find the lowest threshold that keeps a false-alarm rate on validation queries.

    `false_alarm_rate` is in percent, from 0 to below 100.

    Raises ValueError: a rate out of range.
    """
    if not 0 <= false_alarm_rate < 100:
        raise ValueError(f"false_alarm_rate is {false_alarm_rate}; it must be from 0 to below 100 percent")
    descending = np.sort(scores.wrong)[::-1]
    allowed = int(len(descending) * false_alarm_rate / 100)
    return float(np.nextafter(descending[allowed], np.inf))


def open_set_rates(scores: OpenSetScores, threshold: float) -> OpenSetRates:
    """Measure a threshold on a split, counting ties as wrong.

    Raises ValueError: no query whose person is in the gallery.
    """
    present = np.isfinite(scores.right)
    if not present.any():
        raise ValueError("no query's person is in the gallery; take queries and gallery from the same split")
    found = (scores.right > scores.wrong) & (scores.right >= threshold)
    return OpenSetRates(
        threshold=threshold,
        false_alarm_rate=100.0 * float((scores.wrong >= threshold).mean()),
        miss_rate=100.0 * float(1 - found[present].mean()),
    )
