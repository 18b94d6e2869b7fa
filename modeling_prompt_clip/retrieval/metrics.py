"""Rank-k, mAP and mINP by identity, from the ranks of the relevant gallery items alone.

Protocol of text-to-image person re-identification: every query ranks the whole gallery by inner product, and a gallery
item is relevant when it has the query's `person_id`. The gallery is grouped by person once; each block of queries is
then scored, its relevant scores are picked out, and their ranks are counted. Neither a full argsort nor the
queries x gallery matrix is ever held.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from modeling_prompt_clip.retrieval.relevance import RelevantItems, match_identities

__all__ = ["RetrievalMetrics", "retrieval_metrics"]


Embeddings = torch.Tensor | np.ndarray
PersonIds = torch.Tensor | np.ndarray | Sequence[int]
Ties = Literal["pessimistic", "optimistic"]


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
    before it; `optimistic`: after it. Relevant items of one score take consecutive places. Scores are products in
    float64, compared in the precision of the embeddings (at least float32), so that equal embeddings tie exactly and
    the result depends neither on the order of the gallery nor on `block_size`.

    Args:
        query_embeds: `[queries, dim]` of any float type, torch or numpy; not normalised here.
        gallery_embeds: `[gallery, dim]`, likewise.
        query_person_ids: `[queries]` integers.
        gallery_person_ids: `[gallery]` integers.
        ties: `"pessimistic"` or `"optimistic"`.
        block_size: queries scored at once; memory grows with `block_size * gallery`.

    Raises:
        TypeError: embeddings that are not floating point, ids that are not integers.
        ValueError: wrong shapes, values that are not finite, an unknown `ties`, or no query that can be answered.
    """
    _check_options(ties, block_size)
    queries = _checked_embeddings(query_embeds, "query_embeds")
    gallery = _checked_embeddings(gallery_embeds, "gallery_embeds").to(queries.device)
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query_embeds has {queries.shape[1]} columns and gallery_embeds {gallery.shape[1]}; "
            "encode both with the same model"
        )
    query_ids = _checked_ids(query_person_ids, "query_person_ids", len(queries))
    gallery_ids = _checked_ids(gallery_person_ids, "gallery_person_ids", len(gallery))
    relevant = match_identities(query_ids, gallery_ids)
    answerable = torch.from_numpy(np.flatnonzero(relevant.counts))
    if not len(answerable):
        raise ValueError(
            f"none of the {len(query_ids)} person ids in query_person_ids occurs in gallery_person_ids; "
            "take queries and gallery from the same split"
        )
    order = torch.from_numpy(relevant.gallery_order).to(gallery.device)
    values = np.concatenate(
        [
            _query_values(_relevant_ranks(scores, relevant, rows, ties), relevant.counts[rows])
            for rows, scores in _score_blocks(queries, gallery[order], answerable, block_size)
        ]
    )
    return RetrievalMetrics(
        *(100.0 * values.mean(axis=0)).tolist(),
        queries=len(query_ids),
        gallery=len(gallery_ids),
        unanswerable_queries=len(query_ids) - len(answerable),
    )


def _score_blocks(
    queries: torch.Tensor, gallery: torch.Tensor, rows: torch.Tensor, block_size: int
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """(query rows `[b]`, scores `[b, gallery]`) of each block, gallery columns in the order given."""
    precision = torch.promote_types(torch.promote_types(queries.dtype, gallery.dtype), torch.float32)
    columns = gallery.double().T
    for block in rows.split(block_size):
        # A float32 product differs in the last bit with the shape of the block, which would break ties by luck.
        scores = queries[block.to(queries.device)].double() @ columns
        yield block.numpy(), scores.to(precision)


def _relevant_ranks(scores: torch.Tensor, relevant: RelevantItems, rows: np.ndarray, ties: Ties) -> np.ndarray:
    """Ranks, from 1, of each query's relevant items, worst first: `[b, most]`, the padding in front.

    Args:
        scores: `[b, gallery]` with the columns grouped by person.
        rows: the queries of the block, `[b]`.
    """
    columns, padding = relevant.columns(rows)
    padding = torch.from_numpy(padding).to(scores.device)
    own = scores.gather(1, torch.from_numpy(columns).to(scores.device)).masked_fill(padding, -torch.inf)
    own = own.sort(dim=1).values
    before_all = _count_before(_sorted_rows(scores), own, ties)
    before_own = _count_before(own, own, ties)
    place_among_own = torch.arange(own.shape[1], 0, -1, device=own.device)
    return (place_among_own + before_all - before_own).cpu().numpy()


def _count_before(ascending: torch.Tensor, values: torch.Tensor, ties: Ties) -> torch.Tensor:
    """How many entries of each ascending row rank before each value: those above it, and equal ones if pessimistic."""
    return ascending.shape[1] - torch.searchsorted(ascending, values, right=ties == "optimistic")


def _sorted_rows(scores: torch.Tensor) -> torch.Tensor:
    """Each row in ascending order; numpy's vectorised sort is some twenty times faster than torch's on a CPU."""
    if scores.device.type == "cpu":
        return torch.from_numpy(np.sort(scores.numpy(), axis=1))
    return scores.sort(dim=1).values


def _query_values(ranks: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`[b, 5]`: hit at 1, 5, 10, average precision, inverse negative penalty, each in 0..1.

    Args:
        ranks: `[b, most]` ranks of the relevant items, worst first, padding in front.
        counts: `[b]` number of relevant items, at least 1.
    """
    most = ranks.shape[1]
    place_among_own = np.arange(most, 0, -1)
    precision = np.where(place_among_own <= counts[:, None], place_among_own / ranks, 0.0)
    last = ranks[np.arange(len(ranks)), most - counts]
    hits = ranks[:, -1:] <= np.array([1, 5, 10])
    return np.column_stack([hits, precision.sum(axis=1) / counts, counts / last])


def _check_options(ties: str, block_size: int) -> None:
    if ties not in ("pessimistic", "optimistic"):
        raise ValueError(f"ties={ties!r} is unknown; use 'pessimistic' or 'optimistic'")
    if block_size < 1:
        raise ValueError(f"block_size={block_size} must be at least 1 query")


def _checked_embeddings(embeds: Embeddings, name: str) -> torch.Tensor:
    """`[rows, dim]` finite floats, on the GPU where they came from one and on the CPU otherwise."""
    tensor = torch.from_numpy(np.array(embeds)) if isinstance(embeds, np.ndarray) else embeds
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
        kind = getattr(tensor, "dtype", type(embeds).__name__)
        raise TypeError(f"{name} is {kind}; give a floating-point torch tensor or numpy array")
    if tensor.ndim != 2 or not tensor.numel():
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; give [rows, dim] with at least one of each")
    bad = (~tensor.isfinite()).any(dim=1).nonzero()
    if len(bad):
        raise ValueError(
            f"{name} holds NaN or infinity in {len(bad)} of {len(tensor)} rows, first in row {int(bad[0])}; "
            "look for a diverged model or an overflow in half precision"
        )
    # Not every accelerator has float64, in which the scores are computed.
    return tensor.detach().to(tensor.device if tensor.is_cuda else "cpu")


def _checked_ids(person_ids: PersonIds, name: str, rows: int) -> np.ndarray:
    """`[rows]` int64 on the CPU."""
    ids = person_ids.cpu().numpy() if isinstance(person_ids, torch.Tensor) else np.asarray(person_ids)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name} is {ids.dtype}; give integer person ids")
    if ids.shape != (rows,):
        raise ValueError(f"{name} has shape {ids.shape}; give one id for each of the {rows} embeddings")
    return ids.astype(np.int64)
