import random

import numpy as np
import torch

from trainers.stages.random_state import random_state, restore_random_state


def draws() -> tuple[float, float, float, float]:
    return random.random(), random.gauss(0, 1), float(np.random.standard_normal()), float(torch.rand(()))


def test_the_same_numbers_come_again_after_a_file(tmp_path):
    draws()  # an odd number of normal draws: the generators keep the second of each pair
    torch.save(random_state(), tmp_path / "state.pt")
    first = [draws() for _ in range(3)]
    restore_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [draws() for _ in range(3)] == first
