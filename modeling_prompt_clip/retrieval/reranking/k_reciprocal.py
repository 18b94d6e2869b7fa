"""k-reciprocal re-ranking: items are alike if their mutual neighbours are the same.

Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017
(https://arxiv.org/abs/1701.08398), for queries of one kind and a gallery of another.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from modeling_prompt_clip.retrieval.metrics.ranking import Correction
from modeling_prompt_clip.retrieval.reranking.neighbors import nearest
from modeling_prompt_clip.retrieval.reranking.sparse_rows import SparseRows

__all__ = ["KReciprocal"]

_PAIRS = 16384  # pairs of embeddings multiplied at once
_QUERIES = 128  # queries whose overlaps with the gallery are summed at once


@dataclass(frozen=True)
class KReciprocal:
    """Re-rank by `(1 - original_weight) * Jaccard + original_weight * original` distance.

    The paper has images on both sides. In a joint embedding, sentences lie nearer to sentences and images to images,
    so one space of neighbours would give a sentence hardly any image as a reciprocal neighbour. Here all neighbours
    are gallery items:

    - a gallery item's are its `k1` nearest in the gallery and itself, as in the paper; two are reciprocal when each is
    among the other's;
    - a query's are its `k1` nearest in the gallery; one is reciprocal when the query is among its `k1` nearest
    queries.

    The rest follows the paper: a set of reciprocal neighbours takes in a member's own set for `k1 // 2` if two thirds
    of that lie in it (equation 4); an item is the vector of `exp(-d)` over its set (5, 7), made to sum to 1 as in the
    authors' code; vectors are averaged over `k2` nearest neighbours, themselves included (11); the Jaccard distance is
    that of minima and maxima (10). `d` is the squared Euclidean distance of unit vectors, from 0 to 4, not divided by
    the largest as in the authors' code. Of equal neighbours, the lower row is nearer.

    It is transductive: a result depends on the whole gallery and the other queries. It takes four times the scoring of
    gallery and queries against one another.

    Raises ValueError: a number out of range.
    """

    k1: int = 20  # neighbours, 1 or more
    k2: int = 6  # vectors averaged, from 1 (none but its own) to `k1`
    original_weight: float = 0.3  # from 0 to 1, where the ranking is the plain one; the paper's lambda

    def __post_init__(self) -> None:
        if self.k1 < 1:
            raise ValueError(f"k1={self.k1} must be at least 1 neighbour")
        if not 1 <= self.k2 <= self.k1:
            raise ValueError(f"k2={self.k2} must be from 1 to k1, which is {self.k1}")
        if not 0 <= self.original_weight <= 1:
            raise ValueError(f"original_weight={self.original_weight} must be from 0 to 1")

    def __call__(self, queries: torch.Tensor, gallery: torch.Tensor) -> Correction:
        """Build the function from cosines to scores, minus the final distance.

        Both arguments are `[rows, dim]` unit vectors on the same device.

        Raises ValueError: embeddings that are not unit vectors.
        """
        for name, embeds in (("query_embeds", queries), ("gallery_embeds", gallery)):
            _check_units(embeds, name)
        query_vectors, gallery_vectors = self._vectors(queries, gallery)
        totals = query_vectors.totals()[:, None], gallery_vectors.totals()
        by_column = gallery_vectors.transposed()

        def correct(rows: np.ndarray, scores: torch.Tensor) -> torch.Tensor:
            parts = []
            for start in range(0, len(rows), _QUERIES):
                part = rows[start : start + _QUERIES]
                smaller = query_vectors.select(part).overlaps(by_column)
                larger = totals[0][part] + totals[1] - smaller
                # Both may be empty: among vectors not quite of length 1, an item may not be its own neighbour.
                jaccard = 1 - np.divide(smaller, larger, out=np.zeros_like(smaller), where=larger > 0)
                jaccard = torch.from_numpy(jaccard).to(scores.device)
                original = 2 - 2 * scores[start : start + _QUERIES]
                distance = (1 - self.original_weight) * jaccard + self.original_weight * original
                parts.append(-distance)
            return torch.cat(parts)

        return correct

    def _vectors(self, queries: torch.Tensor, gallery: torch.Tensor) -> tuple[SparseRows, SparseRows]:
        among_gallery = nearest(gallery, gallery, self.k1 + 1)
        of_queries = nearest(queries, gallery, self.k1)
        queries_back = nearest(gallery, queries, self.k1)
        close = among_gallery[:, : self.k1 // 2 + 1]
        halves = _reciprocal(close, close)
        pairs = _expanded(_reciprocal(among_gallery, among_gallery), halves)
        gallery_vectors = _weighted(*pairs, gallery, gallery)
        pairs = _expanded(_reciprocal(of_queries, queries_back), halves)
        vectors = gallery_vectors.stacked(_weighted(*pairs, queries, gallery))
        own = len(gallery) + np.arange(len(queries))
        return (
            _averaged(vectors, np.column_stack([own, of_queries[:, : self.k2 - 1]])),
            _averaged(vectors, among_gallery[:, : self.k2]),
        )


def _reciprocal(neighbors: np.ndarray, back: np.ndarray) -> SparseRows:
    """Mutual neighbours `[rows, k]` and `[columns, k]`, as entries of 1."""
    shape = len(neighbors), len(back)
    rows, columns = np.repeat(np.arange(shape[0]), neighbors.shape[1]), neighbors.ravel()
    returned = back.ravel() * shape[1] + np.repeat(np.arange(shape[1]), back.shape[1])
    mutual = np.isin(rows * shape[1] + columns, returned)
    return SparseRows.summed(rows[mutual], columns[mutual], np.ones(mutual.sum()), shape)


def _expanded(sets: SparseRows, halves: SparseRows) -> tuple[np.ndarray, np.ndarray]:
    """Add `halves` that lie in their row's set by two thirds.

    `sets` `[rows, gallery]` are reciprocal neighbours for `k1`, `halves` `[gallery, gallery]` for half of it.
    """
    rows, places = sets.entries(np.arange(len(sets.starts) - 1))
    members = sets.columns[places]
    present = rows * sets.width + members
    owners, places = halves.entries(members)
    candidates = rows[owners] * sets.width + halves.columns[places]
    shared = np.bincount(owners, weights=np.isin(candidates, present), minlength=len(members))
    sizes = np.bincount(owners, minlength=len(members))
    taken = candidates[(3 * shared >= 2 * sizes)[owners]]
    return np.divmod(np.union1d(present, taken), sets.width)


def _weighted(rows: np.ndarray, columns: np.ndarray, items: torch.Tensor, gallery: torch.Tensor) -> SparseRows:
    """`exp(-d)` of items and gallery, each row summing to 1."""
    cosines = np.concatenate([np.empty(0), *_cosines(rows, columns, items, gallery)])
    weights = np.exp(2 * cosines - 2)
    sums = np.bincount(rows, weights=weights, minlength=len(items))
    return SparseRows.summed(rows, columns, weights / sums[rows], (len(items), len(gallery)))


def _cosines(
    rows: np.ndarray, columns: np.ndarray, items: torch.Tensor, gallery: torch.Tensor
) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), _PAIRS):
        part = slice(start, start + _PAIRS)
        left = items[torch.from_numpy(rows[part]).to(items.device)].double()
        right = gallery[torch.from_numpy(columns[part]).to(gallery.device)].double()
        yield (left * right).sum(dim=1).cpu().numpy()


def _averaged(vectors: SparseRows, neighbors: np.ndarray) -> SparseRows:
    """Average the vectors that each row `[rows, k]` of neighbours names."""
    owners, places = vectors.entries(neighbors.ravel())
    count, of_each = neighbors.shape
    values = vectors.values[places] / of_each
    return SparseRows.summed(owners // of_each, vectors.columns[places], values, (count, vectors.width))


def _check_units(embeds: torch.Tensor, name: str) -> None:
    lengths = embeds.double().norm(dim=1)
    bad = ((lengths - 1).abs() > 0.01).nonzero()
    if len(bad):
        raise ValueError(
            f"{name} has length {float(lengths[bad[0]]):.3f} in row {int(bad[0])}; k-reciprocal re-ranking needs unit "
            "vectors, so normalise the embeddings"
        )
