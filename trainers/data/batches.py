"""Endless epochs cut into global batches and shared among processes."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from torch.utils.data import Sampler

from trainers.data.samplers import identity_batches, length_batched_indices, num_identity_batches, shuffled_indices


class EpochOrder(NamedTuple):
    """Order of rows in every epoch."""

    rows: int  # rows of one epoch, the same for each; repeated rows count again
    of_epoch: Callable[[int], list[int]]  # epoch, 0 or more -> row numbers


def shuffled(num_rows: int, seed: int) -> EpochOrder:
    """Every row once an epoch, in random order."""
    return EpochOrder(num_rows, partial(shuffled_indices, num_rows, seed))


def by_identity(person_ids: Sequence[int], global_batch: int, num_instances: int, seed: int) -> EpochOrder:
    """Order every row at least once an epoch, in batches of [`identity_batches`].

    Raises ValueError: `num_instances` does not divide the batch, or a batch needs more persons.
    """
    rows = global_batch * num_identity_batches(person_ids, global_batch, num_instances)

    def of_epoch(epoch: int) -> list[int]:
        return list(chain.from_iterable(identity_batches(person_ids, global_batch, num_instances, seed, epoch)))

    return EpochOrder(rows, of_epoch)


def by_length(lengths: Sequence[int], global_batch: int, seed: int) -> EpochOrder:
    """Order every row once an epoch by [`length_batched_indices`]."""
    return EpochOrder(len(lengths), partial(length_batched_indices, lengths, global_batch, seed))


class StepBatches(Sampler):
    """Batches of `(epoch, row)`: one process's share of each global batch.

    Epochs follow each other without a gap, cut into global batches of `batch_size * world_size`. Rank r takes the r-th
    part, so all ranks together see what one process with the larger batch would. The next epoch fills the last batch
    of an epoch, which may then hold a pair twice, augmented differently. The losses see two captions of one image by
    their ids: a match, except for `itc` with hard targets.

    Args:
        order: rows of each epoch, for this global batch.
        batch_size: pairs of one process in one step.
        num_steps: number of batches.
        rank: this process.
        world_size: number of processes.
        done: batches to skip at the start, when a run resumes.
    """

    def __init__(
        self, order: EpochOrder, batch_size: int, num_steps: int, rank: int = 0, world_size: int = 1, done: int = 0
    ) -> None:
        self.order = order
        self.batch_size = batch_size
        self.num_steps = num_steps
        self.rank = rank
        self.world_size = world_size
        self.done = done

    def __len__(self) -> int:
        return self.num_steps - self.done

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        current, rows = -1, []
        for step in range(self.done, self.num_steps):
            first = (step * self.world_size + self.rank) * self.batch_size
            batch: list[tuple[int, int]] = []
            while len(batch) < self.batch_size:
                epoch, place = divmod(first + len(batch), self.order.rows)
                if epoch != current:
                    current, rows = epoch, self.order.of_epoch(epoch)
                batch += [(epoch, row) for row in rows[place : place + self.batch_size - len(batch)]]
            yield batch


def check_batch_fits(num_pairs: int, batch_size: int, world_size: int) -> None:
    """Check that no global batch is larger than the split.

    Raises ValueError: one is.
    """
    if batch_size * world_size > num_pairs:
        raise ValueError(
            f"batch_size {batch_size} on {world_size} process(es) needs {batch_size * world_size} caption-image "
            f"pairs, the training split has {num_pairs}; lower batch_size"
        )


__all__ = ["EpochOrder", "StepBatches", "by_identity", "by_length", "check_batch_fits", "shuffled"]
