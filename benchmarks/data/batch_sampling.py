"""What do the ways to fill batches cost: padding, repeated pairs, and the time to find an epoch's order?

    python -m benchmarks.data.batch_sampling

The split is made up at the size of CUHK-PEDES's training split: 11,003 persons, one image and some more of each (three
on average), two captions an image, of about 25 words (30 tokens, standard deviation 8, as `step_cases.py` has them).
Of one epoch in batches of 64: tokens that the text tower computes for each token that a caption has, with captions
padded to the longest of their batch, and for each of CLIP's 77; pairs seen for each pair of the split; and seconds of
one core to find the order. It takes a few seconds.
"""

import time

import numpy as np

from benchmarks.record import write_record
from trainers.data.batches import EpochOrder, by_identity, by_length, shuffled

PERSONS, BATCH_SIZE, NUM_INSTANCES, CONTEXT = 11_003, 64, 4, 77


def measure(order: EpochOrder, lengths: np.ndarray) -> dict[str, float]:
    """Measure one epoch, without the few pairs left for the next epoch's first batch."""
    start = time.process_time()
    rows = np.array(order.of_epoch(0))
    seconds = time.process_time() - start
    tokens = lengths[rows[: len(rows) // BATCH_SIZE * BATCH_SIZE]].reshape(-1, BATCH_SIZE)
    return {
        "computed_tokens_a_token": round(float(tokens.max(axis=1).sum() * BATCH_SIZE / tokens.sum()), 3),
        "computed_tokens_of_77": round(float(tokens.max(axis=1).mean() / CONTEXT), 3),
        "pairs_a_pair": round(order.rows / len(lengths), 3),
        "seconds_of_one_core": round(seconds, 2),
    }


def main() -> None:
    random = np.random.default_rng(0)
    images = 1 + random.poisson(2.1, PERSONS)
    person_ids = np.repeat(np.arange(PERSONS), 2 * images).tolist()
    lengths = random.normal(30, 8, len(person_ids)).round().clip(14, CONTEXT)
    write_record(
        "batch_sampling",
        "What do the ways to fill batches cost: padding, repeated pairs, and the time to find an epoch's order?",
        ("numpy",),
        pairs=len(person_ids),
        shuffle=measure(shuffled(len(person_ids), seed=0), lengths),
        identity=measure(by_identity(person_ids, BATCH_SIZE, NUM_INSTANCES, seed=0), lengths),
        length=measure(by_length(lengths, BATCH_SIZE, seed=0), lengths),
    )


if __name__ == "__main__":
    main()
