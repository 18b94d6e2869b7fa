"""Ranks of each query's relevant gallery items, counted in blocks.

The gallery is grouped by person once; each block's relevant scores are picked out and their ranks counted, without a
full argsort or the whole matrix of scores.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from modeling_prompt_clip.retrieval.metrics.relevance import RelevantItems, match_identities

__all__ = [
    "Correction",
    "Embeddings",
    "PersonIds",
    "RelevantRanks",
    "Reranking",
    "checked_ids",
    "prepared",
    "relevant_ranks",
    "score_blocks",
]


Embeddings = torch.Tensor | np.ndarray
PersonIds = torch.Tensor | np.ndarray | Sequence[int]
# (query rows [b], their inner products with the gallery [b, gallery] in float64) -> scores of the same shape
Correction = Callable[[np.ndarray, torch.Tensor], torch.Tensor]
# (queries [queries, dim], gallery [gallery, dim]), all of them -> what corrects a block of scores
Reranking = Callable[[torch.Tensor, torch.Tensor], Correction]


@dataclass(frozen=True)
class RelevantRanks:
    """Positions of the relevant items of a block of queries.

    A row holds a query's relevant items, worst first, after padding up to the block's largest number, `most`. The last
    four arrays are `[b, most]`; padded entries are meaningless.
    """

    rows: np.ndarray  # `[b]` the queries
    counts: np.ndarray  # `[b]` number of relevant items, at least 1
    above: np.ndarray  # gallery items that score higher
    level: np.ndarray  # gallery items of the same score, including the item itself
    own_above: np.ndarray  # relevant items among `above`
    own_level: np.ndarray  # relevant items among `level`

    @property
    def places(self) -> np.ndarray:
        """Places `[most]` among the query's relevant items: `most`, ..., 2, 1 (best)."""
        return np.arange(self.above.shape[1], 0, -1)

    @property
    def padding(self) -> np.ndarray:
        """`[b, most]` whether a place is padded."""
        return self.places > self.counts[:, None]

    def ranks(self, pessimistic: bool) -> np.ndarray:
        """Ranks `[b, most]` from 1; pessimistic ones put irrelevant ties first."""
        irrelevant = self.above - self.own_above
        if pessimistic:
            irrelevant = irrelevant + self.level - self.own_level
        return self.places + irrelevant


def relevant_ranks(
    query_embeds: Embeddings,
    gallery_embeds: Embeddings,
    query_person_ids: PersonIds,
    gallery_person_ids: PersonIds,
    *,
    block_size: int = 1024,
    rerank: Reranking | None = None,
) -> Iterator[RelevantRanks]:
    """Yield ranks of all answerable queries' relevant items, block by block.

    Args and errors as for `retrieval_metrics`; `rerank` sees all queries and the gallery in the given order, and no
    ids.
    """
    queries, gallery, relevant = prepared(query_embeds, gallery_embeds, query_person_ids, gallery_person_ids)
    answerable = np.flatnonzero(relevant.counts)
    if not len(answerable):
        raise ValueError(
            f"none of the {len(queries)} person ids in query_person_ids occurs in gallery_person_ids; "
            "take queries and gallery from the same split"
        )
    if rerank is None:
        blocks = score_blocks(queries, gallery, answerable, block_size)
    else:
        blocks = _reranked_blocks(rerank, queries, gallery, relevant, answerable, block_size)
    return (_block_ranks(scores, relevant, rows) for rows, scores in blocks)


def prepared(
    query_embeds: Embeddings, gallery_embeds: Embeddings, query_person_ids: PersonIds, gallery_person_ids: PersonIds
) -> tuple[torch.Tensor, torch.Tensor, RelevantItems]:
    """Check embeddings and group the gallery by person.

    Raises TypeError, ValueError: as `relevant_ranks`, but allows splits without an answerable query.
    """
    queries = _checked_embeddings(query_embeds, "query_embeds")
    gallery = _checked_embeddings(gallery_embeds, "gallery_embeds").to(queries.device)
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query_embeds has {queries.shape[1]} columns and gallery_embeds {gallery.shape[1]}; "
            "encode both with the same model"
        )
    query_ids = checked_ids(query_person_ids, "query_person_ids", len(queries))
    gallery_ids = checked_ids(gallery_person_ids, "gallery_person_ids", len(gallery))
    relevant = match_identities(query_ids, gallery_ids)
    return queries, gallery[torch.from_numpy(relevant.gallery_order).to(gallery.device)], relevant


def score_blocks(
    queries: torch.Tensor,
    gallery: torch.Tensor,
    rows: np.ndarray,
    block_size: int,
    correct: Correction | None = None,
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Yield query rows `[b]` and scores `[b, gallery]` of each block.

    `correct` changes inner products before they are rounded to the precision of the embeddings.

    Raises ValueError: a `block_size` below 1.
    """
    if block_size < 1:
        raise ValueError(f"block_size={block_size} must be at least 1 query")
    precision = torch.promote_types(torch.promote_types(queries.dtype, gallery.dtype), torch.float32)
    columns = gallery.double().T
    for block in torch.from_numpy(rows).split(block_size):
        # A float32 product differs in the last bit with the shape of the block, which would break ties by luck.
        scores = queries[block.to(queries.device)].double() @ columns
        if correct is not None:
            scores = correct(block.numpy(), scores)
        yield block.numpy(), scores.to(precision)


def _reranked_blocks(
    rerank: Reranking,
    queries: torch.Tensor,
    gallery: torch.Tensor,
    relevant: RelevantItems,
    rows: np.ndarray,
    block_size: int,
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """As `score_blocks`, but the method sees the gallery ungrouped.

    The grouped order would tell it who is who wherever it goes by rows, as between equal scores.
    """
    order = torch.from_numpy(relevant.gallery_order).to(gallery.device)
    as_given = gallery[order.argsort()]
    blocks = score_blocks(queries, as_given, rows, block_size, rerank(queries, as_given))
    return ((rows, scores[:, order]) for rows, scores in blocks)


def _block_ranks(scores: torch.Tensor, relevant: RelevantItems, rows: np.ndarray) -> RelevantRanks:
    columns, padded = relevant.columns(rows)
    padding = torch.from_numpy(padded).to(scores.device)
    own = scores.gather(1, torch.from_numpy(columns).to(scores.device)).masked_fill(padding, -torch.inf)
    own = own.sort(dim=1).values
    above, level = _counts(_sorted_rows(scores), own)
    own_above, own_level = _counts(own, own)
    return RelevantRanks(rows, relevant.counts[rows], above, level, own_above, own_level)


def _counts(ascending: torch.Tensor, values: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Count entries above, and equal to, each value in its ascending row."""
    up_to = torch.searchsorted(ascending, values, right=True)
    below = torch.searchsorted(ascending, values)
    return (ascending.shape[1] - up_to).cpu().numpy(), (up_to - below).cpu().numpy()


def _sorted_rows(scores: torch.Tensor) -> torch.Tensor:
    if scores.device.type == "cpu":
        return torch.from_numpy(np.sort(scores.numpy(), axis=1))
    return scores.sort(dim=1).values


def _checked_embeddings(embeds: Embeddings, name: str) -> torch.Tensor:
    """`[rows, dim]` finite floats, on their GPU or the CPU."""
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


def checked_ids(person_ids: PersonIds, name: str, rows: int) -> np.ndarray:
    """`[rows]` int64 on the CPU."""
    ids = person_ids.cpu().numpy() if isinstance(person_ids, torch.Tensor) else np.asarray(person_ids)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name} is {ids.dtype}; give integer person ids")
    if ids.shape != (rows,):
        raise ValueError(f"{name} has shape {ids.shape}; give one id for each of the {rows} embeddings")
    return ids.astype(np.int64)
