"""Rank-k, mAP and mINP by person, from ranks of relevant items.

Every query ranks the whole gallery by inner product; items with the query's `person_id` are relevant.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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

__all__ = ["KS", "QueryValues", "RetrievalMetrics", "checked_ks", "query_values", "retrieval_metrics"]


Ties = Literal["pessimistic", "optimistic", "expected"]
KS = (1, 5, 10)


@dataclass(frozen=True)
class RetrievalMetrics:
    """Means over the answerable queries, in percent (0 to 100), and sizes."""

    recalls: dict[int, float]  # R@k by ascending k: share of queries with a relevant item among the first k
    mean_average_precision: float  # mean of AP, the mean precision at the ranks of a query's relevant items
    # mean of INP = relevant items / rank of the last one (Ye et al., https://arxiv.org/abs/2001.04193, section 3.5)
    mean_inverse_negative_penalty: float
    queries: int  # all queries, including unanswerable ones
    gallery: int  # gallery items
    unanswerable_queries: int  # queries whose person is not in the gallery, excluded from the means

    @property
    def rank_1(self) -> float:
        """R@1; KeyError if 1 is not among the `ks`."""
        return self.recalls[1]

    @property
    def rank_5(self) -> float:
        """R@5."""
        return self.recalls[5]

    @property
    def rank_10(self) -> float:
        """R@10."""
        return self.recalls[10]

    def to_dict(self) -> dict[str, float | int]:
        """Metrics by name: "R@1", ..., "mAP", "mINP" in percent, and counts."""
        return {
            **{f"R@{k}": value for k, value in self.recalls.items()},
            "mAP": self.mean_average_precision,
            "mINP": self.mean_inverse_negative_penalty,
            "queries": self.queries,
            "gallery": self.gallery,
            "unanswerable_queries": self.unanswerable_queries,
        }


@dataclass(frozen=True)
class QueryValues:
    """Contribution of each answerable query to the means."""

    # `[answerable, len(names)]` in 0..1: a hit for each of `ks`, average precision, inverse negative penalty
    values: np.ndarray
    person_ids: np.ndarray  # `[answerable]` int64
    rows: np.ndarray  # `[answerable]` int64, positions among all queries
    queries: int  # all queries, including unanswerable ones
    gallery: int  # gallery items
    ks: tuple[int, ...] = KS  # ascending

    @property
    def names(self) -> tuple[str, ...]:
        """Column names of `values`, such as "R@1"."""
        return (*(f"R@{k}" for k in self.ks), "mAP", "mINP")

    def subset(self, places: Sequence[int]) -> "QueryValues":
        """The queries at these places among the answerable ones."""
        chosen = np.asarray(places, dtype=np.int64)
        return replace(
            self,
            values=self.values[chosen],
            person_ids=self.person_ids[chosen],
            rows=self.rows[chosen],
            queries=len(chosen),
        )

    def mean(self) -> RetrievalMetrics:
        """Metrics over all queries."""
        *recalls, average_precision, penalty = (100.0 * self.values.mean(axis=0)).tolist()
        return RetrievalMetrics(
            dict(zip(self.ks, recalls, strict=True)),
            average_precision,
            penalty,
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
    ks: Sequence[int] = KS,
    ties: Ties = "pessimistic",
    block_size: int = 1024,
    rerank: Reranking | None = None,
) -> QueryValues:
    """Compute every query's hits, average precision and inverse negative penalty.

    Args and errors as for `retrieval_metrics`; `rerank`, such as `KReciprocal()`, replaces inner products by its
    scores: report such results separately.
    """
    if ties not in ("pessimistic", "optimistic", "expected"):
        raise ValueError(f"ties={ties!r} is unknown; use 'pessimistic', 'optimistic' or 'expected'")
    ks = checked_ks(ks)
    embeds_and_ids = (query_embeds, gallery_embeds, query_person_ids, gallery_person_ids)
    blocks = relevant_ranks(*embeds_and_ids, block_size=block_size, rerank=rerank)
    rows, values = zip(*((block.rows, _block_values(block, ks, ties)) for block in blocks), strict=True)
    rows = np.concatenate(rows)
    query_ids = checked_ids(query_person_ids, "query_person_ids", len(query_embeds))
    return QueryValues(np.concatenate(values), query_ids[rows], rows, len(query_embeds), len(gallery_embeds), ks)


def retrieval_metrics(
    query_embeds: Embeddings,
    gallery_embeds: Embeddings,
    query_person_ids: PersonIds,
    gallery_person_ids: PersonIds,
    *,
    ks: Sequence[int] = KS,
    ties: Ties = "pessimistic",
    block_size: int = 1024,
) -> RetrievalMetrics:
    """Compute rank-k, mAP and mINP of ranking the gallery by inner product.

    Irrelevant items rank before relevant ones of the same score (`pessimistic`), after them (`optimistic`), or metrics
    are the mean over all orders (`expected`). Scores are float64 products compared in the precision of the embeddings
    (at least float32), so equal embeddings tie exactly, whatever gallery order and `block_size`.

    Args:
        query_embeds, gallery_embeds: `[rows, dim]` of any float type, torch or numpy; not normalised here.
        query_person_ids, gallery_person_ids: `[rows]` integers.
        ks: ranks of R@k, integers from 1.
        ties: `"pessimistic"`, `"optimistic"` or `"expected"`.
        block_size: queries scored at once; memory grows with `block_size * gallery`.

    Raises TypeError: embeddings that are not floating point, ids that are not integers; ValueError: wrong shapes,
    non-finite values, unknown `ties`, wrong `ks`, or no answerable query.
    """
    embeds_and_ids = (query_embeds, gallery_embeds, query_person_ids, gallery_person_ids)
    return query_values(*embeds_and_ids, ks=ks, ties=ties, block_size=block_size).mean()


def checked_ks(ks: Sequence[int]) -> tuple[int, ...]:
    """Sort ranks; raise ValueError unless they are distinct integers from 1."""
    ranks = list(ks) if isinstance(ks, Iterable) else []
    if not ranks or len(set(ranks)) < len(ranks) or any(type(k) is not int or k < 1 for k in ranks):
        raise ValueError(f"ks is {ks!r}; give each rank once, as integers from 1, such as (1, 5, 10)")
    return tuple(sorted(ranks))


def _block_values(block: RelevantRanks, ks: tuple[int, ...], ties: Ties) -> np.ndarray:
    """`[b, len(ks) + 2]`: hits, average precision, inverse negative penalty in 0..1."""
    values = _rank_values(block.ranks(ties == "pessimistic"), block, ks)
    if ties == "expected":
        mixed = (block.level > block.own_level) & ~block.padding
        for query in np.flatnonzero(mixed.any(axis=1)):
            values[query] = expected_values(block, int(query), ks)
    return values


def _rank_values(ranks: np.ndarray, block: RelevantRanks, ks: tuple[int, ...]) -> np.ndarray:
    """As `_block_values`, of ranks `[b, most]`, worst first, padding in front."""
    precision = np.where(block.padding, 0.0, block.places / ranks)
    last = ranks[np.arange(len(ranks)), ranks.shape[1] - block.counts]
    hits = ranks[:, -1:] <= np.array(ks)
    return np.column_stack([hits, precision.sum(axis=1) / block.counts, block.counts / last])
