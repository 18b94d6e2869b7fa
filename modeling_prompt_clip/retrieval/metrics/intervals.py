"""Bootstrap intervals over persons.

Queries of one person are not independent, so persons are drawn, with replacement, each with all of its queries; the
gallery stays fixed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from modeling_prompt_clip.retrieval.metrics.query_metrics import QueryValues

__all__ = ["Comparison", "Interval", "bootstrap_intervals", "compare_models"]

RESAMPLES = 2000
LEVEL = 0.95
_CHUNK = 100  # resamples drawn at once: 100 x identities numbers in memory


@dataclass(frozen=True)
class Interval:
    """A percentile interval."""

    low: float  # its ends, in percent
    high: float  # its ends, in percent
    level: float  # share of the resamples between them, such as 0.95

    def to_list(self) -> list[float]:
        """`[low, high]`."""
        return [self.low, self.high]


@dataclass(frozen=True)
class Comparison:
    """Two models on the same queries; differences are second minus first."""

    differences: dict[str, float]  # in points of percent, by metric
    intervals: dict[str, Interval]  # of the differences
    gained: list[int]  # persons of whom the second model finds more queries at the lowest k (rank 1), ascending ids
    lost: list[int]  # persons of whom it finds fewer


def bootstrap_intervals(
    values: QueryValues, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> dict[str, Interval]:
    """Compute intervals of all metrics of one model.

    `resamples` draws of as many persons as there are; the same `seed` and persons give the same draws for every model.
    `level` is above 0 and below 1.

    Raises ValueError: a number out of range.
    """
    return _intervals(values, values.values, resamples, level, seed)


def compare_models(
    first: QueryValues, second: QueryValues, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Comparison:
    """Compare two models query by query, which detects smaller differences than intervals.

    Options as for `bootstrap_intervals`.

    Raises ValueError: other queries, another gallery or other `ks`, or a number out of range.
    """
    if first.gallery != second.gallery or not np.array_equal(first.rows, second.rows):
        raise ValueError(
            f"the models were evaluated on different splits ({first.queries} queries in {first.gallery} items, and "
            f"{second.queries} in {second.gallery}); compare them on one"
        )
    if not np.array_equal(first.person_ids, second.person_ids):
        raise ValueError("the models were evaluated on queries of different persons; compare them on one split")
    if first.ks != second.ks:
        raise ValueError(f"the models were evaluated with ks {first.ks} and {second.ks}; evaluate both with the same")
    change = second.values - first.values
    persons, of_query = np.unique(first.person_ids, return_inverse=True)
    hits = np.bincount(of_query, weights=change[:, 0], minlength=len(persons))
    return Comparison(
        differences=dict(zip(first.names, (100.0 * change.mean(axis=0)).tolist(), strict=True)),
        intervals=_intervals(first, change, resamples, level, seed),
        gained=persons[hits > 0].tolist(),
        lost=persons[hits < 0].tolist(),
    )


def _intervals(
    queries_of: QueryValues, values: np.ndarray, resamples: int, level: float, seed: int
) -> dict[str, Interval]:
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; it must be at least 1")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must be above 0 and below 1, such as 0.95")
    persons, of_query = np.unique(queries_of.person_ids, return_inverse=True)
    queries = np.bincount(of_query)
    sums = np.stack([np.bincount(of_query, weights=column) for column in values.T], axis=1)
    random = np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, _CHUNK):
        draws = random.multinomial(
            len(persons), np.full(len(persons), 1 / len(persons)), min(_CHUNK, resamples - start)
        )
        means.append(draws @ sums / (draws @ queries)[:, None])
    tail = (1 - level) / 2
    low, high = 100.0 * np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    ends: Mapping[str, tuple[float, float]] = dict(zip(queries_of.names, zip(low, high, strict=True), strict=True))
    return {name: Interval(float(bottom), float(top), level) for name, (bottom, top) in ends.items()}
