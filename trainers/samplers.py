"""The order in which training rows are seen: plain shuffling, or batches of P identities with K rows each."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from trainers.checks import check_integer


def shuffled_indices(num_rows: int, seed: int, epoch: int, window: int = 0) -> list[int]:
    """A permutation of all rows; another one in every epoch and window, the same one on every machine.

    Args:
        num_rows: 0 or more.
        seed: the run's seed, 0 or more.
        epoch: 0 or more.
        window: which part of the epoch it is, where rows are shuffled in parts; 0 or more.

    Raises:
        ValueError, TypeError: a number is negative or no integer.
    """
    check_integer("num_rows", num_rows, least=0)
    return _epoch_random(seed, epoch, window).permutation(num_rows).tolist()


def identity_batches(
    person_ids: Sequence[int], batch_size: int, instances: int, seed: int, epoch: int
) -> list[list[int]]:
    """Batches of `batch_size / instances` different persons with `instances` rows each ("P x K").

    Every person's rows are shuffled and cut into groups of `instances`; the last group is topped up with rows that the
    person has already given, so that a row is seen once in an epoch, sometimes twice (or more often, where a person
    has fewer than `instances` rows). Batches draw persons in proportion to the groups they have left, until too few
    persons are left for another batch; the rows left over, other ones in every epoch, are not seen.

    Args:
        person_ids: the person of each row.
        batch_size: rows of a batch, a multiple of `instances`.
        instances: K, rows of a person in a batch, 1 or more.
        seed: the run's seed, 0 or more.
        epoch: 0 or more.

    Returns:
        Row numbers, batch by batch, the rows of a person side by side.

    Raises:
        ValueError: a number breaks its rule, or there are fewer persons than a batch needs.
        TypeError: a number is no integer.
    """
    check_integer("instances", instances, least=1)
    check_integer("batch_size", batch_size, least=instances)
    if batch_size % instances:
        raise ValueError(f"batch_size is {batch_size} and instances {instances}: it must be a multiple of instances.")
    random = _epoch_random(seed, epoch)
    groups = _groups_by_person(person_ids, instances, random)
    persons = batch_size // instances
    if len(groups) < persons:
        raise ValueError(
            f"A batch of {batch_size} with {instances} rows a person needs {persons} persons and the split has "
            f"{len(groups)}: lower batch_size or raise instances."
        )
    left = np.array([len(of_person) for of_person in groups])
    batches = []
    while np.count_nonzero(left) >= persons:
        chosen = random.choice(len(groups), size=persons, replace=False, p=left / left.sum())
        batches.append([row for person in chosen for row in groups[person][left[person] - 1]])
        left[chosen] -= 1
    return batches


def _groups_by_person(person_ids: Sequence[int], instances: int, random: np.random.Generator) -> list[list[list[int]]]:
    """For each person, in order of appearance, its shuffled rows in groups of exactly `instances`."""
    rows_of = defaultdict(list)
    for row, person_id in enumerate(person_ids):
        rows_of[person_id].append(row)
    groups = []
    for rows_of_one in rows_of.values():
        rows = random.permutation(rows_of_one)
        filled = np.resize(rows, -(-len(rows) // instances) * instances)  # repeats from the start where rows run out
        groups.append(filled.reshape(-1, instances).tolist())
    return groups


def _epoch_random(seed: int, epoch: int, window: int = 0) -> np.random.Generator:
    """Random numbers of one window of one epoch, independent of all others and of the augmentations' streams."""
    for name, value in (("seed", seed), ("epoch", epoch), ("window", window)):
        check_integer(name, value, least=0)
    # keys of two and three numbers are those of a row's image and caption
    key = (epoch, 0, 0, window) if window else (epoch,)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


__all__ = ["identity_batches", "shuffled_indices"]
