import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from modeling_prompt_clip.retrieval.reranking.neighbors import nearest

SMALL = st.integers(-2, 2)


@settings(deadline=None, max_examples=100)
@given(
    queries=arrays.arrays(np.float32, (5, 2), elements=SMALL),
    gallery=arrays.arrays(np.float32, (9, 2), elements=SMALL),
    count=st.integers(1, 12),
    block_size=st.integers(1, 6),
)
def test_equals_a_stable_sort_whatever_ties_there_are(queries, gallery, count, block_size):
    expected = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")[:, :count]
    found = nearest(torch.from_numpy(queries), torch.from_numpy(gallery), count, block_size=block_size)
    assert np.array_equal(found, expected)


def test_rounding_does_not_order_what_is_equal():
    gallery = torch.tensor([[1 - 1e-12], [1], [1 - 2e-12], [2]], dtype=torch.float64)
    assert nearest(torch.ones(1, 1), gallery, 3).tolist() == [[3, 0, 1]]
