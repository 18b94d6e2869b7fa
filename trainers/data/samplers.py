"""Order of training rows: shuffled, by identity, or by length."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from dataset_scripts.common.numbers import check_integer

WINDOW = 50  # batches whose rows are sorted together by length


def shuffled_indices(num_rows: int, seed: int, epoch: int, window: int = 0) -> list[int]:
    """Permute all rows, differently in every epoch and window, equally on every machine.

    Args:
        num_rows, seed, epoch: 0 or more.
        window: part of the epoch, if rows are shuffled in parts; 0 or more.

    Raises ValueError, TypeError: a number is negative or no integer.
    """
    check_integer("num_rows", num_rows, least=0)
    return _epoch_random(seed, epoch, window).permutation(num_rows).tolist()


def length_batched_indices(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[int]:
    """Permute all rows so that most batches hold rows of similar length.

    Rows are shuffled, sorted by length within windows of 50 batches, cut into batches, and the batches shuffled. The
    first rows, which complete the previous epoch's last batch, and the last rows, which the next epoch completes, stay
    in random order.

    Args:
        lengths: tokens of each row.
        batch_size: rows of a batch over all processes, 1 or more.
        seed, epoch: 0 or more.

    Raises ValueError, TypeError: a number breaks its rule or is no integer.
    """
    check_integer("batch_size", batch_size, least=1)
    rows = np.array(shuffled_indices(len(lengths), seed, epoch), dtype=np.int64)
    lead = min(len(rows), -epoch * len(rows) % batch_size)
    whole = (len(rows) - lead) // batch_size
    first, body, last = np.split(rows, [lead, lead + whole * batch_size])
    tokens = np.asarray(lengths)
    windows = np.split(body, range(WINDOW * batch_size, len(body), WINDOW * batch_size))
    by_length = np.concatenate([window[tokens[window].argsort(kind="stable")] for window in windows])
    batches = by_length.reshape(whole, batch_size)[shuffled_indices(whole, seed, epoch, window=1)]
    return np.concatenate([first, batches.reshape(-1), last]).tolist()


def identity_batches(
    person_ids: Sequence[int], batch_size: int, num_instances: int, seed: int, epoch: int
) -> list[list[int]]:
    """Make batches of `batch_size / num_instances` persons with `num_instances` rows each ("P x K").

    Each person's rows are shuffled and cut into groups of `num_instances`; repeated rows fill the last group. Batches
    draw persons in proportion to their remaining groups, first those who would otherwise not place all. If too few
    persons have groups left, groups of other persons are repeated. So an epoch holds every row, some more than once,
    in [`num_identity_batches`] batches.

    Args:
        person_ids: the person of each row.
        batch_size: rows of a batch over all processes, a multiple of `num_instances`.
        num_instances: K, rows of a person in a batch, 1 or more.
        seed, epoch: 0 or more.

    Returns:
        Row numbers of each batch, a person's rows side by side.

    Raises:
        ValueError: a number breaks its rule, or a batch needs more persons.
        TypeError: a number is no integer.
    """
    count = num_identity_batches(person_ids, batch_size, num_instances)
    random = _epoch_random(seed, epoch)
    groups = _groups_by_person(person_ids, num_instances, random)
    left = np.array([len(of_person) for of_person in groups])
    batches = []
    for batches_left in range(count, 0, -1):
        batch = []
        for person in _draw_persons(left, batch_size // num_instances, batches_left, random):
            # without groups left, one of those that the person has given
            group = left[person] - 1 if left[person] else random.integers(len(groups[person]))
            batch.extend(groups[person][group])
            left[person] = max(0, left[person] - 1)
        batches.append(batch)
    return batches


def num_identity_batches(person_ids: Sequence[int], batch_size: int, num_instances: int) -> int:
    """Count the fewest [`identity_batches`] that hold every group of every person.

    Raises ValueError, TypeError: see [`identity_batches`].
    """
    check_integer("num_instances", num_instances, least=1)
    check_integer("batch_size", batch_size, least=num_instances)
    if batch_size % num_instances:
        raise ValueError(
            f"num_instances {num_instances} does not divide the {batch_size} rows that a batch holds over all "
            "processes; change batch_size or num_instances"
        )
    persons = batch_size // num_instances
    _, rows = np.unique(np.asarray(person_ids), return_counts=True)
    if len(rows) < persons:
        raise ValueError(
            f"a batch of {batch_size} rows over all processes with num_instances {num_instances} needs {persons} "
            f"persons and the split has {len(rows)}; lower batch_size or raise num_instances"
        )
    groups = -(-rows // num_instances)
    return int(max(-(-groups.sum() // persons), groups.max()))


def _draw_persons(left: np.ndarray, count: int, batches_left: int, random: np.random.Generator) -> list[int]:
    """Draw different persons for a batch, preferring those with groups `left`.

    A person with as many groups as batches to come is always in. There is room: nobody has more groups, and all groups
    fit into those batches.
    """
    due = np.flatnonzero(left == batches_left)
    others = np.where(left < batches_left, left, 0)
    drawn = min(count - len(due), np.count_nonzero(others))
    chosen = random.choice(len(left), size=drawn, replace=False, p=others / others.sum()) if drawn else []
    persons = np.concatenate([due, chosen]).astype(np.int64)
    spare = np.setdiff1d(np.flatnonzero(left == 0), persons)
    again = random.choice(spare, size=count - len(persons), replace=False) if len(persons) < count else []
    return np.concatenate([persons, again]).astype(np.int64).tolist()


def _groups_by_person(
    person_ids: Sequence[int], num_instances: int, random: np.random.Generator
) -> list[list[list[int]]]:
    """Cut each person's shuffled rows into groups of exactly `num_instances`, in order of appearance."""
    rows_of = defaultdict(list)
    for row, person_id in enumerate(person_ids):
        rows_of[person_id].append(row)
    groups = []
    for rows_of_one in rows_of.values():
        rows = random.permutation(rows_of_one)
        filled = np.resize(rows, -(-len(rows) // num_instances) * num_instances)  # from the start where rows run out
        groups.append(filled.reshape(-1, num_instances).tolist())
    return groups


def _epoch_random(seed: int, epoch: int, window: int = 0) -> np.random.Generator:
    """Return the random numbers of one window of an epoch, apart from those of augmentations."""
    for name, value in (("seed", seed), ("epoch", epoch), ("window", window)):
        check_integer(name, value, least=0)
    # keys of two and three numbers are those of a row's image and caption
    key = (epoch, 0, 0, window) if window else (epoch,)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


__all__ = ["identity_batches", "length_batched_indices", "num_identity_batches", "shuffled_indices"]
