"""Matrices with some dozens of entries a row: just what re-ranking needs of them."""

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
        """From entries in any order; those of one place are added up.

        Args:
            rows: `[entries]`.
            columns: `[entries]`.
            values: `[entries]`.
            shape: (rows, columns) of the matrix.
        """
        places, inverse = np.unique(rows * shape[1] + columns, return_inverse=True)
        starts = np.searchsorted(places, np.arange(shape[0] + 1) * shape[1])
        sums = np.bincount(inverse, weights=values, minlength=len(places))
        return cls(starts, places % shape[1], sums, shape[1])

    def entries(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The entries of some rows, one row after the other.

        Returns: (which of `rows` each belongs to, its place in `columns` and `values`), both `[entries]`.
        """
        counts = self.starts[rows + 1] - self.starts[rows]
        owners = np.repeat(np.arange(len(rows)), counts)
        first = np.cumsum(counts) - counts
        return owners, np.arange(len(owners)) + (self.starts[rows] - first)[owners]

    def totals(self) -> np.ndarray:
        """`[rows]` sum of each row."""
        rows = len(self.starts) - 1
        owners, places = self.entries(np.arange(rows))
        return np.bincount(owners, weights=self.values[places], minlength=rows)

    def transposed(self) -> "SparseRows":
        """Columns as rows."""
        rows = len(self.starts) - 1
        owners, places = self.entries(np.arange(rows))
        return SparseRows.summed(self.columns[places], owners, self.values[places], (self.width, rows))

    def overlaps(self, others: "SparseRows") -> np.ndarray:
        """Sum over the columns of the smaller of two entries, for each of these rows and some others.

        Args:
            others: the other matrix, transposed: `[columns, others]`.

        Returns: `[rows, others]`, dense.
        """
        rows = len(self.starts) - 1
        owners, places = self.entries(np.arange(rows))
        shared, other_places = others.entries(self.columns[places])
        smaller = np.minimum(self.values[places][shared], others.values[other_places])
        cells = owners[shared] * others.width + others.columns[other_places]
        return np.bincount(cells, weights=smaller, minlength=rows * others.width).reshape(rows, others.width)

    def stacked(self, below: "SparseRows") -> "SparseRows":
        """These rows, and those of another matrix of the same width below them."""
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
