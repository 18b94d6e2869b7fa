import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.data.batches import StepBatches, by_identity, by_length, check_batch_fits, shuffled
from trainers.data.samplers import identity_batches, shuffled_indices
from trainers.objectives import CombinedObjective


def orders(rows: int, global_batch: int):
    """An order of each kind for that many rows."""
    random = np.random.default_rng(rows)
    made = [shuffled(rows, seed=3), by_length(random.integers(5, 60, size=rows), global_batch, seed=3)]
    if global_batch % 2 == 0 and rows // 3 >= global_batch // 2:
        made.append(by_identity([row // 3 for row in range(rows)], global_batch, 2, seed=3))
    return made


sizes = {"rows": st.integers(4, 60), "batch_size": st.integers(1, 6), "world_size": st.integers(1, 3)}


@settings(max_examples=60, deadline=None)
@given(**sizes, epochs=st.integers(1, 3))
def test_ranks_together_see_what_one_process_sees_and_every_row_in_each_epoch(rows, batch_size, world_size, epochs):
    global_batch = batch_size * world_size
    if global_batch > rows:
        return
    for order in orders(rows, global_batch):
        steps = -(-epochs * order.rows // global_batch)
        one = list(StepBatches(order, global_batch, steps))
        ranks = [list(StepBatches(order, batch_size, steps, rank, world_size)) for rank in range(world_size)]
        assert [sum(parts, []) for parts in zip(*ranks, strict=True)] == one
        assert all(len(batch) == global_batch for batch in one)
        seen = list(itertools.chain.from_iterable(one))
        for epoch in range(epochs):
            # epochs follow one another without a gap
            part = seen[epoch * order.rows : (epoch + 1) * order.rows]
            assert {number for number, _ in part} == {epoch}
            assert [row for _, row in part] == order.of_epoch(epoch)
            counts = Counter(row for _, row in part)
            assert set(counts) == set(range(rows))
            assert order.rows > rows or set(counts.values()) == {1}


@settings(deadline=None, max_examples=60)
@given(**sizes, steps=st.integers(1, 12), data=st.data())
def test_a_run_that_goes_on_sees_the_rest_of_the_batches(rows, batch_size, world_size, steps, data):
    done, rank = data.draw(st.integers(0, steps)), data.draw(st.integers(0, world_size - 1))
    if batch_size * world_size > rows:
        return
    for order in orders(rows, batch_size * world_size):
        whole = list(StepBatches(order, batch_size, steps, rank, world_size))
        rest = StepBatches(order, batch_size, steps, rank, world_size, done)
        assert list(rest) == whole[done:] and len(rest) == len(whole) - done == steps - done


def test_where_batches_fill_an_epoch_they_are_parts_of_its_permutation():
    batches = list(StepBatches(shuffled(12, seed=5), 4, 6))
    for step, batch in enumerate(batches):
        epoch, number = divmod(step, 3)
        assert batch == [(epoch, row) for row in shuffled_indices(12, 5, epoch)[4 * number : 4 * number + 4]]


def test_a_batch_over_the_end_of_an_epoch_goes_on_with_the_next():
    second = list(StepBatches(shuffled(10, seed=0), 6, 2))[1]
    last, first = shuffled_indices(10, 0, 0)[6:], shuffled_indices(10, 0, 1)[:2]
    assert second == [(0, row) for row in last] + [(1, row) for row in first]


def test_identity_batches_are_kept_whole():
    person_ids = [row // 3 for row in range(30)]
    batches = list(StepBatches(by_identity(person_ids, 8, 2, seed=1), 8, 10))
    expected = [(epoch, batch) for epoch in range(2) for batch in identity_batches(person_ids, 8, 2, 1, epoch)]
    assert batches == [[(epoch, row) for row in batch] for epoch, batch in expected]


def test_a_batch_larger_than_the_split_is_refused():
    with pytest.raises(ValueError, match="batch_size 8 on 2 process.*16 caption-image pairs.*10; lower batch_size"):
        check_batch_fits(10, 8, 2)
    check_batch_fits(16, 8, 2)


def test_losses_stand_a_pair_that_comes_twice():
    """What a batch over the end of an epoch may hold: to a perfect model, no more than a second caption."""
    embeds = torch.eye(8)[[0, 1, 2, 3, 4, 5, 0]].requires_grad_()
    ids = torch.tensor([0, 1, 2, 3, 4, 5, 0])
    for weights, options, least in (
        ({"sdm": 1.0}, {}, 0.0),
        ({"tal": 1.0}, {}, 0.0),
        ({"citc": 1.0}, {}, 0.0),
        ({"itc": 1.0}, {"itc": {"same_image_weight": 1.0}}, 2 / 7 * np.log(2)),  # two answers for the two pairs
        ({"itc": 1.0}, {}, 2 / 7 * np.log(2)),
    ):
        loss, _ = CombinedObjective(weights, options)(embeds, embeds.clone(), ids, image_ids=ids)
        assert loss.item() == pytest.approx(least, abs=1e-4)
        loss.backward()
        assert embeds.grad.isfinite().all()
