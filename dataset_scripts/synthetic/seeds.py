"""Independent random streams from a few integers, the same on every machine."""

import random

import numpy as np

__all__ = ["stream"]


def stream(*key: int) -> random.Random:
    """Return a generator for a key of integers; different keys are unrelated.

    NumPy's `SeedSequence` mixes the key, so (0, 11) and (1, 1) differ. It pads short keys with zeros, hence the length
    in front: (3, 5) and (3, 5, 0) must differ too.

    Raises ValueError: a number is outside 0 to 2**32 - 1.
    """
    if not all(0 <= number < 2**32 for number in key):
        raise ValueError(f"seed key {key}: every number must lie in 0 to 2**32 - 1; choose another seed or person_id")
    state = np.random.SeedSequence((len(key), *key)).generate_state(4)
    return random.Random(int.from_bytes(state.astype("<u4").tobytes(), "little"))
