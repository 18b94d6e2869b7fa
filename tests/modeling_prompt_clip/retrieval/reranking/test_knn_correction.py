import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_prompt_clip.retrieval import KnnCorrection, query_values, retrieval_metrics
from modeling_prompt_clip.retrieval.metrics.ranking import score_blocks


def scores_of(method, queries, gallery, block_size=1024):
    blocks = score_blocks(queries, gallery, np.arange(len(queries)), block_size, method(queries, gallery))
    return torch.cat([scores for _, scores in blocks]).numpy()


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 10**6), k=st.integers(1, 9), weight=st.sampled_from([0.0, 0.75, 2.0]), block=st.integers(1, 8)
)
def test_equals_the_definition_in_loops(seed, k, weight, block):
    random = np.random.default_rng(seed)
    queries, gallery = random.normal(size=(7, 3)), random.normal(size=(5, 3))
    found = scores_of(KnnCorrection(k, weight), torch.from_numpy(queries), torch.from_numpy(gallery), block)
    for column, item in enumerate(gallery):
        best = sorted((float(item @ query) for query in queries), reverse=True)[:k]
        for row, query in enumerate(queries):
            expected = query @ item - weight * sum(best) / len(best)
            assert found[row, column] == pytest.approx(expected, abs=1e-12)


def test_weight_0_changes_nothing():
    torch.manual_seed(0)
    split = (torch.randn(40, 16), torch.randn(60, 16), torch.arange(40) % 12, torch.arange(60) % 12)
    plain = query_values(*split)
    assert np.array_equal(query_values(*split, rerank=KnnCorrection(weight=0)).values, plain.values)
    assert not np.array_equal(query_values(*split, rerank=KnnCorrection()).values, plain.values)


def test_a_hub_loses_its_first_places():
    # Each caption is like its image, and all are still more like image 3, whom nobody asked for.
    captions = torch.eye(3, 4) + torch.tensor([0.0, 0.0, 0.0, 1.0])
    images = torch.cat([torch.eye(3, 4), torch.tensor([[0.0, 0.0, 0.0, 1.5]])])
    split = (captions, images, [0, 1, 2], [0, 1, 2, 3])
    assert retrieval_metrics(*split).rank_1 == 0
    assert query_values(*split, rerank=KnnCorrection(k=3, weight=1.0)).mean().rank_1 == 100


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), block_size=st.integers(1, 30))
def test_neither_the_order_of_the_gallery_nor_the_block_size_matters(seed, block_size):
    torch.manual_seed(seed)
    queries, gallery, shuffled = torch.randn(20, 8), torch.randn(15, 8), torch.randperm(15)
    expected = scores_of(KnnCorrection(4), queries, gallery)
    assert np.array_equal(scores_of(KnnCorrection(4), queries, gallery, block_size), expected)
    assert np.array_equal(scores_of(KnnCorrection(4), queries, gallery[shuffled]), expected[:, shuffled])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"k": 0}, "k=0"), ({"weight": -0.1}, "weight=-0.1"), ({"weight": float("nan")}, "weight=nan")],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        KnnCorrection(**options)
