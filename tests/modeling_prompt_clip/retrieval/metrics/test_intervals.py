from dataclasses import replace

import numpy as np
import pytest

from modeling_prompt_clip.retrieval import QueryValues, bootstrap_intervals, compare_models


def of_persons(hits, queries_each=2, gallery=100):
    """Values of some persons' queries, all five metrics of a person alike."""
    values = np.repeat(np.asarray(hits, dtype=float), queries_each)[:, None].repeat(5, axis=1)
    rows = np.arange(len(values))
    return QueryValues(values, np.repeat(np.arange(len(hits)), queries_each) + 10, rows, len(rows), gallery)


def naive_interval(values, person_ids, resamples, level, seed):
    """Draws persons one by one and gathers their queries."""
    persons = np.unique(person_ids)
    random = np.random.default_rng(seed)
    means = []
    for _ in range(resamples):
        drawn = random.choice(persons, size=len(persons))
        means.append(np.concatenate([values[person_ids == person] for person in drawn]).mean())
    return 100 * np.quantile(means, [(1 - level) / 2, (1 + level) / 2])


def test_equals_a_naive_bootstrap_of_persons():
    random = np.random.default_rng(3)
    person_ids = random.integers(0, 40, 300)
    values = random.random((300, 5)) * (person_ids % 3 == 0)[:, None]
    rows = np.arange(300)
    got = bootstrap_intervals(QueryValues(values, person_ids, rows, 300, 50), resamples=4000)
    for column, name in enumerate(("R@1", "R@5", "R@10", "mAP", "mINP")):
        expected = naive_interval(values[:, column], person_ids, 4000, 0.95, seed=1)
        assert got[name].to_list() == pytest.approx(expected, abs=0.7)  # points of percent: two random draws


def test_width_is_that_of_the_persons_and_not_of_their_queries():
    hits = np.arange(200) % 2
    few, many = (bootstrap_intervals(of_persons(hits, queries))["R@1"] for queries in (2, 50))
    assert few == many
    # the mean of 200 coins: 1.96 standard errors of 0.5 / sqrt(200), in percent
    assert few.high - few.low == pytest.approx(2 * 196 * 0.5 / np.sqrt(200), rel=0.07)


def test_same_seed_same_interval_and_a_higher_level_is_wider():
    values = of_persons(np.random.default_rng(2).random(50))
    assert bootstrap_intervals(values) == bootstrap_intervals(values)
    assert bootstrap_intervals(values) != bootstrap_intervals(values, seed=1)
    narrow, wide = (bootstrap_intervals(values, level=level)["mAP"] for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_names_follow_the_ranks_and_other_ranks_are_not_compared():
    values = of_persons([0, 1])
    renamed = replace(values, ks=(1, 2, 3))
    assert list(bootstrap_intervals(renamed)) == ["R@1", "R@2", "R@3", "mAP", "mINP"]
    with pytest.raises(ValueError, match=r"ks \(1, 5, 10\) and \(1, 2, 3\)"):
        compare_models(values, renamed)


def test_all_alike_has_no_width():
    assert bootstrap_intervals(of_persons([1, 1, 1]))["R@1"].to_list() == [100, 100]


@pytest.mark.parametrize("options", [{"resamples": 0}, {"level": 0.0}, {"level": 1.0}])
def test_numbers_out_of_range(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} is"):
        bootstrap_intervals(of_persons([0, 1]), **options)


def test_a_paired_difference_is_told_from_chance_where_intervals_overlap():
    first = np.arange(100) % 2
    second = first.copy()
    second[:20:2] = 1
    second[1] = 0
    comparison = compare_models(of_persons(first), of_persons(second))
    assert comparison.differences["R@1"] == pytest.approx(9.0)
    assert comparison.intervals["R@1"].low > 0
    assert comparison.gained == list(range(10, 30, 2)) and comparison.lost == [11]
    apart = [bootstrap_intervals(of_persons(hits))["R@1"] for hits in (first, second)]
    assert apart[0].high > apart[1].low


def test_models_are_compared_on_one_split():
    one, other = of_persons([0, 1]), of_persons([0, 1], gallery=99)
    with pytest.raises(ValueError, match="4 queries in 100 items, and 4 in 99"):
        compare_models(one, other)
    other = QueryValues(one.values, one.person_ids + 1, one.rows, 4, 100)
    with pytest.raises(ValueError, match="different persons"):
        compare_models(one, other)
