import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from modeling_prompt_clip.retrieval.reranking.sparse_rows import SparseRows

QUARTERS = st.sampled_from([0.0, 0.0, 0.0, 0.25, 0.5, 1.0])


def sparse(matrix):
    rows, columns = matrix.nonzero()
    return SparseRows.summed(rows, columns, matrix[rows, columns], matrix.shape)


def dense(matrix):
    filled = np.zeros((len(matrix.starts) - 1, matrix.width))
    for row, (start, end) in enumerate(zip(matrix.starts[:-1], matrix.starts[1:], strict=True)):
        columns = matrix.columns[start:end]
        assert (np.diff(columns) > 0).all()
        filled[row, columns] = matrix.values[start:end]
    return filled


@settings(deadline=None, max_examples=100)
@given(
    left=arrays.arrays(np.float64, (4, 6), elements=QUARTERS),
    right=arrays.arrays(np.float64, (3, 6), elements=QUARTERS),
    rows=st.lists(st.integers(0, 3), max_size=5).map(lambda rows: np.array(rows, dtype=np.int64)),
)
def test_does_what_dense_matrices_do(left, right, rows):
    assert np.array_equal(dense(sparse(left)), left)
    assert np.array_equal(dense(sparse(left).transposed()), left.T)
    assert np.array_equal(dense(sparse(left).select(rows)), left[rows])
    assert np.array_equal(dense(sparse(left).stacked(sparse(right))), np.concatenate([left, right]))
    assert np.array_equal(sparse(left).totals(), left.sum(axis=1))
    smaller = np.minimum(left[:, None], right).sum(axis=2)
    assert np.array_equal(sparse(left).overlaps(sparse(right).transposed()), smaller)


def test_entries_of_one_place_are_added_up():
    matrix = SparseRows.summed(np.array([1, 0, 1]), np.array([2, 0, 2]), np.array([0.5, 1.0, 0.25]), (2, 3))
    assert dense(matrix).tolist() == [[1, 0, 0], [0, 0, 0.75]]


def test_entries_name_their_owner():
    owners, places = sparse(np.array([[1.0, 2.0], [0.0, 0.0], [0.0, 3.0]])).entries(np.array([2, 1, 0, 2]))
    assert owners.tolist() == [0, 2, 2, 3]
    assert places.tolist() == [2, 0, 1, 2]
    with pytest.raises(IndexError):
        sparse(np.eye(2)).entries(np.array([2]))
