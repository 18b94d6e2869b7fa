"""Expected values of a query over all orders of tied gallery items."""

from math import comb

import numpy as np

from modeling_prompt_clip.retrieval.metrics.ranking import RelevantRanks

__all__ = ["expected_values"]


def expected_values(block: RelevantRanks, query: int, ks: tuple[int, ...]) -> np.ndarray:
    """Hits at `ks`, average precision and inverse negative penalty of one query.

    For average precision this is the closed form of McSherry and Najork (ECIR 2008, section 2.4); hits and the last
    rank are drawn without replacement.
    """
    real = ~block.padding[query]
    columns = (block.above, block.level, block.own_above, block.own_level)
    # one row for each distinct score of a relevant item, the worst first: (above, level, own_above, own_level)
    groups = np.unique(np.column_stack([column[query][real] for column in columns]), axis=0)[::-1].tolist()
    total = int(block.counts[query])
    average_precision = sum(_precision_sum(*group) for group in groups) / total
    return np.array([*(_hit(k, *groups[-1]) for k in ks), average_precision, _penalty(*groups[0])])


def _hit(k: int, above: int, level: int, own_above: int, own_level: int) -> float:
    """Chance that the best group has a relevant item within `k`."""
    places = min(max(k - above, 0), level)
    return 1 - comb(level - own_level, places) / comb(level, places)


def _precision_sum(above: int, level: int, own_above: int, own_level: int) -> float:
    places = np.arange(level)
    others = places * (own_level - 1) / max(level - 1, 1)  # relevant items of the group expected before a place
    return float(((own_above + 1 + others) / (above + 1 + places)).sum() * own_level / level)


def _penalty(above: int, level: int, own_above: int, own_level: int) -> float:
    relevant = own_above + own_level
    return sum(
        comb(place - 1, own_level - 1) / comb(level, own_level) * relevant / (above + place)
        for place in range(own_level, level + 1)
    )
