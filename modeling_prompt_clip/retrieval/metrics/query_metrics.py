"""Rank-k, mAP and mINP by identity, from the ranks of the relevant gallery items alone.

Protocol of text-to-image person re-identification: every query ranks the whole gallery by inner product, and a gallery
item is relevant when it has the query's `person_id`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from modeling_prompt_clip.retrieval.metrics.ranking import (
    Embeddings,
    PersonIds,
    RelevantRanks,
    Reranking,
    checked_ids,
    relevant_ranks,
)
from modeling_prompt_clip.retrieval.metrics.ties import expected_values

__all__ = ["PERCENTAGES", "QueryValues", "RetrievalMetrics", "query_values", "retrieval_metrics"]


Ties = Literal["pessimistic", "optimistic", "expected"]
PERCENTAGES = ("R@1", "R@5", "R@10", "mAP", "mINP")


@dataclass(frozen=True)
class RetrievalMetrics:
    """Means over the answerable queries, in percent (0 to 100), and the sizes behind them.

    Attributes:
        rank_1, rank_5, rank_10: share of queries with a relevant item among the first 1, 5, 10.
        mean_average_precision: mean of AP, the mean over a query's relevant items of the precision at their ranks.
        mean_inverse_negative_penalty: mean of INP = relevant items / rank of the last one
            (Ye et al., https://arxiv.org/abs/2001.04193, section 3.5).
        queries: all queries given, the unanswerable ones included.
        gallery: gallery items.
        unanswerable_queries: queries whose person is not in the gallery; they are left out of the means.
    """

    rank_1: float
    rank_5: float
    rank_10: float
    mean_average_precision: float
    mean_inverse_negative_penalty: float
    queries: int
    gallery: int
    unanswerable_queries: int

    def to_dict(self) -> dict[str, float | int]:
        """Under the field's names: "R@1", "R@5", "R@10", "mAP", "mINP" (percent) and the three counts."""
        return {
            "R@1": self.rank_1,
            "R@5": self.rank_5,
            "R@10": self.rank_10,
            "mAP": self.mean_average_precision,
            "mINP": self.mean_inverse_negative_penalty,
            "queries": self.queries,
            "gallery": self.gallery,
            "unanswerable_queries": self.unanswerable_queries,
        }


@dataclass(frozen=True)
class QueryValues:
    """What each answerable query contributes to the means.

    Attributes:
        values: `[answerable, 5]`, each from 0 to 1, under the names of `PERCENTAGES`: hits among the first 1, 5, 10,
            average precision, inverse negative penalty.
        person_ids: `[answerable]` int64, of the queries.
        rows: `[answerable]` int64, which queries they are.
        queries: all queries given, the unanswerable ones included.
        gallery: gallery items.
    """

    values: np.ndarray
    person_ids: np.ndarray
    rows: np.ndarray
    queries: int
    gallery: int

    def subset(self, places: Sequence[int]) -> "QueryValues":
        """Some of them, by their places among the answerable ones."""
        chosen = np.asarray(places, dtype=np.int64)
        return QueryValues(self.values[chosen], self.person_ids[chosen], self.rows[chosen], len(chosen), self.gallery)

    def mean(self) -> RetrievalMetrics:
        """The metrics of all of them."""
        return RetrievalMetrics(
            *(100.0 * self.values.mean(axis=0)).tolist(),
            queries=self.queries,
            gallery=self.gallery,
            unanswerable_queries=self.queries - len(self.rows),
        )


def query_values(
    query_embeds: Embeddings,
    gallery_embeds: Embeddings,
    query_person_ids: PersonIds,
    gallery_person_ids: PersonIds,
    *,
    ties: Ties = "pessimistic",
    block_size: int = 1024,
    rerank: Reranking | None = None,
) -> QueryValues:
    """Hits, average precision and inverse negative penalty of every query; see `retrieval_metrics`.

    Args:
        query_embeds: `[queries, dim]`.
        gallery_embeds: `[gallery, dim]`.
        query_person_ids: `[queries]` integers.
        gallery_person_ids: `[gallery]` integers.
        ties: `"pessimistic"`, `"optimistic"` or `"expected"`.
        block_size: queries scored at once.
        rerank: such as `KReciprocal()`; ranks by its scores instead of inner products. Results with one are to be
            reported apart from results without.

    Raises:
        TypeError, ValueError: as `retrieval_metrics`.
    """
    if ties not in ("pessimistic", "optimistic", "expected"):
        raise ValueError(f"ties={ties!r} is unknown; use 'pessimistic', 'optimistic' or 'expected'")
    embeds_and_ids = (query_embeds, gallery_embeds, query_person_ids, gallery_person_ids)
    blocks = relevant_ranks(*embeds_and_ids, block_size=block_size, rerank=rerank)
    rows, values = zip(*((block.rows, _block_values(block, ties)) for block in blocks), strict=True)
    rows = np.concatenate(rows)
    query_ids = checked_ids(query_person_ids, "query_person_ids", len(query_embeds))
    return QueryValues(np.concatenate(values), query_ids[rows], rows, len(query_embeds), len(gallery_embeds))


def retrieval_metrics(
    query_embeds: Embeddings,
    gallery_embeds: Embeddings,
    query_person_ids: PersonIds,
    gallery_person_ids: PersonIds,
    *,
    ties: Ties = "pessimistic",
    block_size: int = 1024,
) -> RetrievalMetrics:
    """Rank-k, mAP and mINP of ranking the gallery by inner product with each query.

    Ties are resolved by definition. `pessimistic`: an irrelevant item that scores the same as a relevant one ranks
    before it; `optimistic`: after it; in both, relevant items of one score take consecutive places. `expected`: the
    mean over all orders of the items that score the same. Scores are products in float64, compared in the precision of
    the embeddings (at least float32), so that equal embeddings tie exactly and the result depends neither on the order
    of the gallery nor on `block_size`.

    Args:
        query_embeds: `[queries, dim]` of any float type, torch or numpy; not normalised here.
        gallery_embeds: `[gallery, dim]`, likewise.
        query_person_ids: `[queries]` integers.
        gallery_person_ids: `[gallery]` integers.
        ties: `"pessimistic"`, `"optimistic"` or `"expected"`.
        block_size: queries scored at once; memory grows with `block_size * gallery`.

    Raises:
        TypeError: embeddings that are not floating point, ids that are not integers.
        ValueError: wrong shapes, values that are not finite, an unknown `ties`, or no query that can be answered.
    """
    embeds_and_ids = (query_embeds, gallery_embeds, query_person_ids, gallery_person_ids)
    return query_values(*embeds_and_ids, ties=ties, block_size=block_size).mean()


def _block_values(block: RelevantRanks, ties: Ties) -> np.ndarray:
    """`[b, 5]`: hit at 1, 5, 10, average precision, inverse negative penalty, each in 0..1."""
    values = _rank_values(block.ranks(ties == "pessimistic"), block)
    if ties == "expected":
        mixed = (block.level > block.own_level) & ~block.padding
        for query in np.flatnonzero(mixed.any(axis=1)):
            values[query] = expected_values(block, query)
    return values


def _rank_values(ranks: np.ndarray, block: RelevantRanks) -> np.ndarray:
    """`[b, 5]` values of ranks `[b, most]`, worst first, padding in front."""
    precision = np.where(block.padding, 0.0, block.places / ranks)
    last = ranks[np.arange(len(ranks)), ranks.shape[1] - block.counts]
    hits = ranks[:, -1:] <= np.array([1, 5, 10])
    return np.column_stack([hits, precision.sum(axis=1) / block.counts, block.counts / last])
