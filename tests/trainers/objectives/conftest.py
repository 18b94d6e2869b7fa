"""Batches of pairs that every objective is tested on."""

import pytest
import torch
from torch.nn.functional import normalize

torch.set_num_threads(1)


def unit(*shape, seed: int = 0, dtype: torch.dtype = torch.float64):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=-1)


@pytest.fixture(params=[(1, 3), (2, 2), (6, 8), (13, 5)], ids=lambda shape: f"{shape[0]}x{shape[1]}")
def pairs(request: pytest.FixtureRequest):
    """Unit float64 images and captions with person ids of which some repeat."""
    count, dim = request.param
    person_ids = torch.randint(0, max(1, count // 2), (count,), generator=torch.Generator().manual_seed(2))
    return unit(count, dim, seed=0), unit(count, dim, seed=1), person_ids


_SAME, _LINE = unit(1, 8).expand(6, 8), unit(1, 8) * torch.tensor([1.0, -1, 1, -1, 1, -1])[:, None]


@pytest.fixture(
    params={
        "identical": (_SAME, _SAME, torch.arange(6)),
        "opposite": (_SAME, -_SAME, torch.arange(6)),
        "alternating": (_LINE, -_LINE, torch.arange(6)),
        "one pair": (_SAME[:1], _SAME[:1], torch.zeros(1, dtype=torch.int64)),
        "one person": (unit(6, 8, seed=3), unit(6, 8, seed=4), torch.zeros(6, dtype=torch.int64)),
        "zero vectors": (torch.zeros(6, 8), torch.zeros(6, 8), torch.arange(6)),
    }.items(),
    ids=lambda item: item[0],
)
def extreme_pairs(request: pytest.FixtureRequest):
    """float32 leaf images and captions at the ends of their range, with person ids."""
    images, texts, person_ids = request.param[1]
    return images.float().clone().requires_grad_(), texts.float().clone().requires_grad_(), person_ids
