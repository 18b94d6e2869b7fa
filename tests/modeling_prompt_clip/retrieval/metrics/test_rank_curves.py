import numpy as np
import pytest
import torch

from modeling_prompt_clip.retrieval import rank_curves, retrieval_metrics


def split(queries=50, gallery=80, persons=10):
    random = np.random.default_rng(0)
    return (
        random.normal(size=(queries, 6)).astype(np.float32),
        random.normal(size=(gallery, 6)).astype(np.float32),
        random.integers(0, persons, queries),
        random.integers(0, persons, gallery),
    )


def naive_precisions(queries, gallery, query_ids, gallery_ids):
    """Interpolated precision at 101 recalls, by walking down every list."""
    curves = []
    for query, person_id in zip(queries, query_ids, strict=True):
        right = (gallery_ids == person_id)[np.argsort(-(gallery.astype(float) @ query.astype(float)))]
        found = right.cumsum()
        precision = found / np.arange(1, len(right) + 1)
        recall = found / right.sum()
        curves.append([precision[recall >= level / 100 - 1e-9].max() for level in range(101)])
    return 100 * np.mean(curves, axis=0)


def test_match_rates_are_the_metrics_at_every_rank():
    curves, metrics = rank_curves(*split(), block_size=7), retrieval_metrics(*split())
    assert curves.match_rates[[0, 4, 9]] == pytest.approx([metrics.rank_1, metrics.rank_5, metrics.rank_10])
    assert (np.diff(curves.match_rates) >= 0).all() and len(curves.match_rates) == 50


def test_precision_equals_a_naive_walk():
    assert rank_curves(*split(), block_size=7).precisions == pytest.approx(naive_precisions(*split()))


def test_one_query_by_hand():
    # right at ranks 1 and 4: precision 1 up to a recall of a half, then 2 / 4
    curves = rank_curves(torch.ones(1, 1), torch.tensor([[4.0], [3.0], [2.0], [1.0]]), [1], [1, 0, 0, 1])
    assert curves.match_rates.tolist() == [100] * 4
    assert curves.precisions.tolist() == [100] * 51 + [50] * 50
