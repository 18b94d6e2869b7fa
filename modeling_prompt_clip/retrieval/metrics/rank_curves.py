"""CMC and precision-recall curves over ranks."""

from dataclasses import dataclass

import numpy as np

from modeling_prompt_clip.retrieval.metrics.ranking import Embeddings, PersonIds, RelevantRanks, relevant_ranks

__all__ = ["RankCurves", "rank_curves"]

RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class RankCurves:
    """Means over the answerable queries, in percent; ties are pessimistic."""

    match_rates: np.ndarray  # `[top]` R@1, R@2, ..., R@top: the cumulative match characteristic
    recalls: np.ndarray  # `[101]` from 0 to 100
    precisions: np.ndarray  # `[101]` interpolated precision at these recalls: the best at that recall or a higher one


def rank_curves(
    query_embeds: Embeddings,
    gallery_embeds: Embeddings,
    query_person_ids: PersonIds,
    gallery_person_ids: PersonIds,
    *,
    top: int = 50,
    block_size: int = 1024,
) -> RankCurves:
    """Compute both curves; arguments and errors as for `retrieval_metrics`.

    `top` is how many ranks the match rates have.
    """
    first_ranks, precisions = [], []
    blocks = relevant_ranks(query_embeds, gallery_embeds, query_person_ids, gallery_person_ids, block_size=block_size)
    for block in blocks:
        ranks = block.ranks(pessimistic=True)
        first_ranks.append(ranks[:, -1])
        precisions.append(_interpolated(block, ranks))
    ranks = np.concatenate(first_ranks)
    found = np.bincount(ranks, minlength=len(gallery_embeds) + 1)[1 : min(top, len(gallery_embeds)) + 1]
    return RankCurves(
        match_rates=100.0 * found.cumsum() / len(ranks),
        recalls=100.0 * RECALLS,
        precisions=100.0 * np.concatenate(precisions).mean(axis=0),
    )


def _interpolated(block: RelevantRanks, ranks: np.ndarray) -> np.ndarray:
    """`[b, 101]` interpolated precision of each query, in 0..1."""
    precision = np.where(block.padding, 0.0, block.places / ranks)
    best_from_here = np.maximum.accumulate(precision, axis=1)  # worst places come first
    # a hair less, so that a product like 0.07 * 100 does not ask for an eighth item
    places = np.maximum(1, np.ceil(RECALLS * block.counts[:, None] - 1e-9)).astype(np.int64)
    return np.take_along_axis(best_from_here, ranks.shape[1] - places, axis=1)
