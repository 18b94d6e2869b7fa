"""Relevant gallery items of each query: those with its `person_id`."""

from dataclasses import dataclass

import numpy as np

__all__ = ["RelevantItems", "match_identities"]


@dataclass(frozen=True)
class RelevantItems:
    """The gallery grouped by person, and each query's place in it."""

    gallery_order: np.ndarray  # `[gallery]` rows of the gallery, grouped by person
    starts: np.ndarray  # `[queries]` position in `gallery_order` of the query's first relevant item
    counts: np.ndarray  # `[queries]` number of relevant items; 0 for a person who is not in the gallery

    def columns(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions in the grouped gallery of some queries' relevant items.

        Returns: positions `[b, most]`, padding `[b, most]` bool; padded positions repeat the query's first.
        """
        counts = self.counts[rows, None]
        offsets = np.arange(counts.max())
        padding = offsets >= counts
        return self.starts[rows, None] + np.where(padding, 0, offsets), padding


def match_identities(query_ids: np.ndarray, gallery_ids: np.ndarray) -> RelevantItems:
    """Group the gallery by person and find every query's group."""
    order = np.argsort(gallery_ids, kind="stable")
    grouped = gallery_ids[order]
    starts = np.searchsorted(grouped, query_ids, side="left")
    counts = np.searchsorted(grouped, query_ids, side="right") - starts
    return RelevantItems(order, starts, counts)
