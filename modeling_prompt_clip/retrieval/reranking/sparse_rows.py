"""Sparse matrices with dozens of entries a row, for re-ranking."""

from dataclasses import dataclass

import numpy as np

__all__ = ["SparseRows"]


@dataclass(frozen=True)
class SparseRows:
    """Non-negative entries, row after row, each row's columns ascending."""

    starts: np.ndarray  # `[rows + 1]` where each row begins among the entries
    columns: np.ndarray  # `[entries]` int64
    values: np.ndarray  # `[entries]` float64
    width: int  # number of columns

    @classmethod
    def summed(cls, rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> "SparseRows":
        """Build a matrix of `shape` from entries, summing those of one place."""
        places, inverse = np.unique(rows * shape[1] + columns, return_inverse=True)
        starts = np.searchsorted(places, np.arange(shape[0] + 1) * shape[1])
        sums = np.bincount(inverse, weights=values, minlength=len(places))
        return cls(starts, places % shape[1], sums, shape[1])

    def entries(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Entries of some rows, one row after the other.

        Returns: which of `rows` each belongs to, and its place in `columns` and `values`, both `[entries]`.
        """
        counts = self.starts[rows + 1] - self.starts[rows]
        owners = np.repeat(np.arange(len(rows)), counts)
        first = np.cumsum(counts) - counts
        return owners, np.arange(len(owners)) + (self.starts[rows] - first)[owners]

    def totals(self) -> np.ndarray:
        """Sum of each row, `[rows]`."""
        rows = len(self.starts) - 1
        owners, places = self.entries(np.arange(rows))
        return np.bincount(owners, weights=self.values[places], minlength=rows)

    def transposed(self) -> "SparseRows":
        """Swap rows and columns."""
        rows = len(self.starts) - 1
        owners, places = self.entries(np.arange(rows))
        return SparseRows.summed(self.columns[places], owners, self.values[places], (self.width, rows))

    def overlaps(self, others: "SparseRows") -> np.ndarray:
        """Sum minima with rows of a transposed matrix: `[rows, others]`, dense."""
        rows = len(self.starts) - 1
        owners, places = self.entries(np.arange(rows))
        shared, other_places = others.entries(self.columns[places])
        smaller = np.minimum(self.values[places][shared], others.values[other_places])
        cells = owners[shared] * others.width + others.columns[other_places]
        return np.bincount(cells, weights=smaller, minlength=rows * others.width).reshape(rows, others.width)

    def stacked(self, below: "SparseRows") -> "SparseRows":
        """Append another matrix of the same width."""
        return SparseRows(
            np.concatenate([self.starts, self.starts[-1] + below.starts[1:]]),
            np.concatenate([self.columns, below.columns]),
            np.concatenate([self.values, below.values]),
            self.width,
        )

    def select(self, rows: np.ndarray) -> "SparseRows":
        """Some of the rows."""
        owners, places = self.entries(rows)
        starts = np.searchsorted(owners, np.arange(len(rows) + 1))
        return SparseRows(starts, self.columns[places], self.values[places], self.width)
