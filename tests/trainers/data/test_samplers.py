import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.data.samplers import (
    WINDOW,
    identity_batches,
    length_batched_indices,
    num_identity_batches,
    shuffled_indices,
)


@pytest.mark.parametrize("num_rows", [0, 1, 2, 100])
def test_shuffling_is_a_permutation(num_rows: int):
    assert sorted(shuffled_indices(num_rows, seed=3, epoch=0)) == list(range(num_rows))


def test_shuffling_depends_on_seed_epoch_and_window_alone():
    keys = list(itertools.product(range(3), repeat=3))
    orders = {key: tuple(shuffled_indices(50, *key)) for key in keys}
    assert len(set(orders.values())) == 27
    assert all(order == tuple(shuffled_indices(50, *key)) for key, order in orders.items())
    assert all(shuffled_indices(50, seed, epoch) == list(orders[seed, epoch, 0]) for seed, epoch, _ in keys)


def test_the_order_of_an_epoch_is_that_of_earlier_versions():
    assert shuffled_indices(10, 0, 0) == [4, 9, 8, 7, 5, 3, 0, 1, 2, 6]
    assert shuffled_indices(10, 5, 7) == [3, 4, 7, 0, 5, 2, 8, 1, 6, 9]


def test_every_place_gets_every_row_equally_often():
    counts = Counter((place, row) for epoch in range(2000) for place, row in enumerate(shuffled_indices(4, 0, epoch)))
    assert len(counts) == 16
    assert all(400 < count < 600 for count in counts.values())  # 500 expected, standard deviation 19


ragged = {
    "sizes": st.lists(st.integers(1, 9), min_size=1, max_size=12),
    "persons": st.integers(1, 4),
    "num_instances": st.integers(1, 4),
    "epoch": st.integers(0, 3),
}


@given(**ragged)
@settings(deadline=None, max_examples=100)
def test_batches_hold_p_persons_with_k_rows_each_and_every_row_is_seen(sizes, persons, num_instances, epoch):
    person_ids = [100 - person for person, size in enumerate(sizes) for _ in range(size)]
    batch_size = persons * num_instances
    if len(sizes) < persons:
        with pytest.raises(ValueError, match="persons and the split has"):
            identity_batches(person_ids, batch_size, num_instances, 0, epoch)
        return
    batches = identity_batches(person_ids, batch_size, num_instances, 0, epoch)
    assert len(batches) == num_identity_batches(person_ids, batch_size, num_instances)
    for batch in batches:
        assert sorted(Counter(person_ids[row] for row in batch).values()) == [num_instances] * persons
    assert {row for batch in batches for row in batch} == set(range(len(person_ids)))


@given(sizes=st.lists(st.integers(1, 5), min_size=2, max_size=5), num_instances=st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_no_fewer_batches_could_hold_every_group(sizes, num_instances):
    """A batch of two persons: tried one by one, always taking the two with the most groups left."""
    person_ids = [person for person, size in enumerate(sizes) for _ in range(size)]
    left, batches = [-(-size // num_instances) for size in sizes], 0
    while max(left) > 0:
        for person in sorted(range(len(left)), key=left.__getitem__)[-2:]:
            left[person] -= 1
        batches += 1
    assert num_identity_batches(person_ids, 2 * num_instances, num_instances) == batches


def test_equal_persons_are_all_seen_exactly_once():
    person_ids = [person for person in range(8) for _ in range(4)]
    for epoch in range(5):
        seen = Counter(row for batch in identity_batches(person_ids, 8, 2, seed=1, epoch=epoch) for row in batch)
        assert len(seen) == 32 and set(seen.values()) == {1}
    assert identity_batches(person_ids, 8, 2, 1, 0) == identity_batches(person_ids, 8, 2, 1, 0)
    assert identity_batches(person_ids, 8, 2, 1, 0) != identity_batches(person_ids, 8, 2, 1, 1)


def test_other_rows_of_a_person_meet_in_other_epochs():
    person_ids = [person for person in range(4) for _ in range(4)]
    meetings = {frozenset(batch[:2]) for epoch in range(20) for batch in identity_batches(person_ids, 4, 2, 0, epoch)}
    assert len(meetings) > 12  # 4 persons x 6 pairs of rows; without shuffling only 8 would ever meet


def test_other_persons_meet_in_other_batches():
    person_ids = [person for person in range(20) for _ in range(2)]
    meetings = {frozenset(person_ids[row] for row in batch) for batch in identity_batches(person_ids, 8, 2, 0, 0)}
    meetings |= {frozenset(person_ids[row] for row in batch) for batch in identity_batches(person_ids, 8, 2, 0, 1)}
    assert len(meetings) == 10


def test_a_person_with_many_rows_meets_others_in_each_batch():
    """Its groups alone decide how many batches there are; the others come again, all about as often."""
    person_ids = [0] * 20 + [person for person in range(1, 9) for _ in range(2)]
    batches = identity_batches(person_ids, 6, 2, seed=0, epoch=0)
    assert len(batches) == 10
    seen = Counter(person_ids[row] for batch in batches for row in batch)
    assert seen.pop(0) == 20
    assert sum(seen.values()) == 40 and max(seen.values()) <= 10


def test_a_ragged_split_repeats_few_rows():
    person_ids = [person for person in range(300) for _ in range(2 + person % 7)]
    seen = Counter(row for batch in identity_batches(person_ids, 64, 4, 0, 0) for row in batch)
    assert len(seen) == len(person_ids)
    groups = sum(-(-(2 + person % 7) // 4) for person in range(300))
    assert sum(seen.values()) == -(-groups // 16) * 64  # topped up to whole groups, and groups to whole batches


@pytest.mark.parametrize(
    ("batch_size", "num_instances", "error", "message"),
    [
        (6, 4, ValueError, "num_instances 4 does not divide the 6 rows"),
        (2, 4, ValueError, "batch_size is 2"),
        (4, 0, ValueError, "num_instances is 0"),
        (4, 2.0, TypeError, "num_instances is 2.0"),
        (8, 2, ValueError, "needs 4 persons and the split has 2"),
    ],
)
def test_bad_batches_are_refused(batch_size: int, num_instances: int, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        identity_batches([0, 0, 1, 1], batch_size, num_instances, 0, 0)


@given(rows=st.integers(1, 700), batch_size=st.integers(1, 9), epoch=st.integers(0, 5), longest=st.integers(1, 70))
@settings(deadline=None, max_examples=100)
def test_batches_by_length_are_a_permutation_sorted_within_windows(rows, batch_size, epoch, longest):
    lengths = np.random.default_rng(rows).integers(1, longest + 1, size=rows)
    order = length_batched_indices(lengths, batch_size, 3, epoch)
    assert sorted(order) == list(range(rows))
    shuffled = shuffled_indices(rows, 3, epoch)
    # in an endless run the epoch begins in the middle of a batch
    lead = min(-(epoch * rows) % batch_size, rows)
    whole = (rows - lead) // batch_size * batch_size
    assert order[:lead] == shuffled[:lead] and order[lead + whole :] == shuffled[lead + whole :]
    batches = {tuple(order[start : start + batch_size]) for start in range(lead, lead + whole, batch_size)}
    expected = set()
    for start in range(lead, lead + whole, WINDOW * batch_size):
        window = shuffled[start : min(start + WINDOW * batch_size, lead + whole)]
        window.sort(key=lengths.__getitem__)
        expected |= {tuple(window[start : start + batch_size]) for start in range(0, len(window), batch_size)}
    assert batches == expected


def test_short_captions_do_not_come_first():
    lengths = list(range(1000))
    means = np.reshape(length_batched_indices(lengths, 10, seed=0, epoch=0), (100, 10)).mean(axis=1)
    assert 300 < means[:50].mean() < 700 and 300 < means[50:].mean() < 700
    assert any(
        length_batched_indices(lengths, 10, 0, epoch) != length_batched_indices(lengths, 10, 0, 0) for epoch in (1, 2)
    )


def test_batches_by_length_save_most_of_the_padding():
    """Captions of about 25 words, as CUHK-PEDES has them."""
    lengths = np.random.default_rng(0).normal(30, 8, size=6400).clip(14, 73).round()

    def padded(order):
        return lengths[np.reshape(order, (100, 64))].max(axis=1).sum() * 64 / lengths.sum()

    assert padded(shuffled_indices(6400, 0, 0)) > 1.5
    assert padded(length_batched_indices(lengths, 64, 0, 0)) < 1.05


@pytest.mark.parametrize("arguments", [(-1, 0, 0), (3, -1, 0), (3, 0, -1)])
def test_negative_numbers_are_refused(arguments: tuple[int, int, int]):
    with pytest.raises(ValueError, match="at least 0"):
        shuffled_indices(*arguments)
