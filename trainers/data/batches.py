"""Which rows the batches of a run hold: epochs without end, cut into global batches and shared by the processes."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from torch.utils.data import Sampler

from trainers.data.samplers import identity_batches, length_batched_indices, num_identity_batches, shuffled_indices


class EpochOrder(NamedTuple):
    """The rows of every epoch, in order.

    Attributes:
        rows: of one epoch, the same for each; rows that come again are counted again.
        of_epoch: epoch, 0 or more -> its row numbers.
    """

    rows: int
    of_epoch: Callable[[int], list[int]]


def shuffled(num_rows: int, seed: int) -> EpochOrder:
    """Every row once an epoch, in random order."""
    return EpochOrder(num_rows, partial(shuffled_indices, num_rows, seed))


def by_identity(person_ids: Sequence[int], global_batch: int, num_instances: int, seed: int) -> EpochOrder:
    """Every row at least once an epoch, in batches of [`identity_batches`].

    Raises:
        ValueError: `num_instances` does not divide the batch, or there are fewer persons than a batch needs.
    """
    rows = global_batch * num_identity_batches(person_ids, global_batch, num_instances)

    def of_epoch(epoch: int) -> list[int]:
        return list(chain.from_iterable(identity_batches(person_ids, global_batch, num_instances, seed, epoch)))

    return EpochOrder(rows, of_epoch)


def by_length(lengths: Sequence[int], global_batch: int, seed: int) -> EpochOrder:
    """Every row once an epoch, rows of about one length together, see [`length_batched_indices`]."""
    return EpochOrder(len(lengths), partial(length_batched_indices, lengths, global_batch, seed))


class StepBatches(Sampler):
    """Batches of `(epoch, row)` for a number of steps, one process's share of each global batch.

    The epochs follow one another without a gap and are cut into global batches of `batch_size * world_size`; rank r
    takes the r-th part of each, so that the union over ranks is what one process with the larger batch would see.
    Batches are always full and no row is left out: where an epoch's rows do not fill its last batch, the next epoch
    does. Such a batch may hold a pair twice, augmented differently. To the losses these are two captions of one image,
    as `image_ids` and `person_ids` say: a match, but for `itc` with hard targets, to which all but a pair's own
    caption are wrong.

    Args:
        order: of the rows in each epoch, made for this global batch.
        batch_size: pairs of one process in one step.
        num_steps: batches in all.
        rank: this process.
        world_size: number of processes.
        done: so many of the batches are left out at the start, by a run that goes on after them.
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
    """See that a global batch holds no epoch twice.

    Raises:
        ValueError: it is larger than the split.
    """
    if batch_size * world_size > num_pairs:
        raise ValueError(
            f"batch_size {batch_size} on {world_size} process(es) needs {batch_size * world_size} caption-image "
            f"pairs, the training split has {num_pairs}; lower batch_size"
        )


__all__ = ["EpochOrder", "StepBatches", "by_identity", "by_length", "check_batch_fits", "shuffled"]
