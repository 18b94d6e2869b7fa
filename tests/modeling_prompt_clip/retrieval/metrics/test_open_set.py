import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_prompt_clip.retrieval import (
    OpenSetScores,
    calibrate_threshold,
    open_set_rates,
    open_set_scores,
    retrieval_metrics,
)


def random_split(seed=0, queries=40, gallery=60, persons=12):
    random = np.random.default_rng(seed)
    return (
        random.normal(size=(queries, 8)).astype(np.float32),
        random.normal(size=(gallery, 8)).astype(np.float32),
        random.integers(0, persons, queries),
        random.integers(1, persons, gallery),  # nobody is person 0
    )


def test_scores_equal_a_naive_loop():
    queries, gallery, query_ids, gallery_ids = split = random_split()
    scores = open_set_scores(*split, block_size=7)
    for row, person_id in enumerate(query_ids):
        products = gallery @ queries[row]
        own = products[gallery_ids == person_id]
        assert scores.right[row] == pytest.approx(own.max() if len(own) else -np.inf, rel=1e-5)
        assert scores.wrong[row] == pytest.approx(products[gallery_ids != person_id].max(), rel=1e-5)


def test_without_a_threshold_a_miss_is_a_wrong_first_answer():
    split = random_split(1)
    rates = open_set_rates(open_set_scores(*split), -np.inf)
    assert rates.false_alarm_rate == 100
    assert rates.miss_rate == pytest.approx(100 - retrieval_metrics(*split).rank_1)


def test_a_person_alone_in_the_gallery_raises_no_alarm():
    scores = open_set_scores(torch.eye(2), torch.eye(2), [5, 5], [5, 5])
    assert np.isneginf(scores.wrong).all()
    assert open_set_rates(scores, 0.5).false_alarm_rate == 0


@settings(deadline=None, max_examples=100)
@given(
    wrong=st.lists(st.integers(-3, 3), min_size=1, max_size=30),
    rate=st.floats(0, 99.9),
)
def test_threshold_is_the_lowest_that_keeps_the_rate(wrong, rate):
    wrong = np.array(wrong, dtype=np.float32)
    scores = OpenSetScores(np.full(len(wrong), 9.0, dtype=np.float32), wrong)
    threshold = calibrate_threshold(scores, rate)
    assert open_set_rates(scores, threshold).false_alarm_rate <= rate + 1e-9
    lower = [value for value in wrong if value < threshold]
    assert 100 * (wrong >= max(lower)).mean() > rate


def test_rates_by_hand():
    scores = OpenSetScores(right=np.array([0.9, 0.5, 0.7, -np.inf]), wrong=np.array([0.2, 0.6, 0.7, 0.8]))
    rates = open_set_rates(scores, 0.65)
    assert rates.false_alarm_rate == 50  # of the last two, whoever is in the gallery
    assert rates.miss_rate == pytest.approx(100 * 2 / 3)  # only the first is found: the third's answer is no clear one


@pytest.mark.parametrize("rate", [-1, 100])
def test_rates_out_of_range(rate):
    with pytest.raises(ValueError, match="false_alarm_rate is"):
        calibrate_threshold(OpenSetScores(np.ones(2), np.zeros(2)), rate)


def test_nobody_to_find():
    with pytest.raises(ValueError, match="no query's person"):
        open_set_rates(OpenSetScores(np.array([-np.inf]), np.array([0.1])), 0.0)
