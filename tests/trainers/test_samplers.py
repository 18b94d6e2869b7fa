import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.samplers import identity_batches, shuffled_indices


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


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    persons=st.integers(1, 4),
    instances=st.integers(1, 4),
    epoch=st.integers(0, 3),
)
@settings(deadline=None, max_examples=60)
def test_batches_hold_p_persons_with_k_rows_each(sizes: list[int], persons: int, instances: int, epoch: int):
    person_ids = [100 - person for person, size in enumerate(sizes) for _ in range(size)]
    if len(sizes) < persons:
        with pytest.raises(ValueError, match="persons and the split has"):
            identity_batches(person_ids, persons * instances, instances, 0, epoch)
        return
    batches = identity_batches(person_ids, persons * instances, instances, 0, epoch)
    assert batches
    seen = Counter(row for batch in batches for row in batch)
    for batch in batches:
        assert sorted(Counter(person_ids[row] for row in batch).values()) == [instances] * persons
    for row, count in seen.items():
        size = sizes[100 - person_ids[row]]
        # once, and once more at most where the last group is topped up; a person with few rows repeats them
        assert count <= (2 if size >= instances else -(-instances // size))


def test_equal_persons_are_all_seen_exactly_once():
    person_ids = [person for person in range(8) for _ in range(4)]
    for epoch in range(5):
        batches = identity_batches(person_ids, 8, 2, seed=1, epoch=epoch)
        seen = Counter(row for batch in batches for row in batch)
        assert set(seen.values()) == {1}
        assert len(seen) >= 24  # a rest of fewer than four persons can be left over
    assert identity_batches(person_ids, 8, 2, 1, 0) == identity_batches(person_ids, 8, 2, 1, 0)
    assert identity_batches(person_ids, 8, 2, 1, 0) != identity_batches(person_ids, 8, 2, 1, 1)


def test_other_rows_of_a_person_meet_in_other_epochs():
    person_ids = [person for person in range(4) for _ in range(4)]
    meetings = {frozenset(batch[:2]) for epoch in range(20) for batch in identity_batches(person_ids, 4, 2, 0, epoch)}
    assert len(meetings) > 12  # 4 persons x 6 pairs of rows; without shuffling only 8 would ever meet


def test_nearly_every_row_of_a_ragged_split_is_seen():
    person_ids = [person for person in range(300) for _ in range(2 + person % 7)]
    seen = {row for batch in identity_batches(person_ids, 64, 4, 0, 0) for row in batch}
    assert len(seen) > 0.9 * len(person_ids)


@pytest.mark.parametrize(
    ("batch_size", "instances", "error", "message"),
    [
        (6, 4, ValueError, "batch_size is 6 and instances 4: it must be a multiple"),
        (2, 4, ValueError, "batch_size is 2"),
        (4, 0, ValueError, "instances is 0"),
        (4, 2.0, TypeError, "instances is 2.0"),
        (8, 2, ValueError, "needs 4 persons and the split has 2"),
    ],
)
def test_bad_batches_are_refused(batch_size: int, instances: int, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        identity_batches([0, 0, 1, 1], batch_size, instances, 0, 0)


@pytest.mark.parametrize("arguments", [(-1, 0, 0), (3, -1, 0), (3, 0, -1)])
def test_negative_numbers_are_refused(arguments: tuple[int, int, int]):
    with pytest.raises(ValueError, match="at least 0"):
        shuffled_indices(*arguments)
