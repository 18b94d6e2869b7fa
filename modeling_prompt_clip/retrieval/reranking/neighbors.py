"""Nearest neighbours by inner product, in blocks."""

import numpy as np
import torch

__all__ = ["nearest"]


def nearest(queries: torch.Tensor, gallery: torch.Tensor, count: int, *, block_size: int = 1024) -> np.ndarray:
    """Find the gallery rows with the highest inner products, best first.

    Products are taken in float64 and compared in float32, so that rounding does not break ties; of equal ones the
    lower row comes first. `queries` and `gallery` are `[rows, dim]` on the same device.

    Returns: `[queries, min(count, gallery)]` int64.
    """
    columns = gallery.double().T
    blocks = [
        _best((block.double() @ columns).float(), min(count, len(gallery))) for block in queries.split(block_size)
    ]
    return torch.cat(blocks).cpu().numpy()


def _best(scores: torch.Tensor, count: int) -> torch.Tensor:
    top = scores.topk(min(count + 1, scores.shape[1]), dim=1)
    best = top.indices[:, :count].sort(dim=1).values
    best = best.gather(1, scores.gather(1, best).sort(dim=1, descending=True, stable=True).indices)
    if count < scores.shape[1]:
        # topk takes any of the columns that tie for the last place
        tied = top.values[:, count - 1] == top.values[:, count]
        best[tied] = scores[tied].sort(dim=1, descending=True, stable=True).indices[:, :count]
    return best
