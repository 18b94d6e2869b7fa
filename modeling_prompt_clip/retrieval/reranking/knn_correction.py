"""k-NN score correction: images that suit every query lose score.

Some gallery items score high with any query (hubs). Nearest neighbour normalization (Chowdhury et al., EMNLP 2024,
https://arxiv.org/abs/2410.24114) subtracts what an item's best reference queries score with it; LPNC's correction
(https://github.com/DrLazywh/LPNC) takes the evaluated queries themselves as the reference.
"""

from dataclasses import dataclass

import numpy as np
import torch

from modeling_prompt_clip.retrieval.metrics.ranking import Correction

__all__ = ["KnnCorrection"]


@dataclass(frozen=True)
class KnnCorrection:
    """Subtract `weight` times the mean score of an item's `k` best queries.

    It is transductive: a query's result depends on the other queries, though not on the rest of the gallery.

    Raises ValueError: a number out of range.
    """

    # queries, 1 or more; all of them where there are fewer. LPNC takes 32 on CUHK-PEDES and RSTPReid, and 512 on
    # ICFG-PEDES, where a person has more captions
    k: int = 32
    weight: float = 0.75  # 0, which changes nothing, or more; the paper's alpha. 0.75 is its authors' advice

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k={self.k} must be at least 1 query")
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"weight={self.weight} must be 0 or more, and finite")

    def __call__(self, queries: torch.Tensor, gallery: torch.Tensor) -> Correction:
        """Build the function from inner products of some queries to corrected scores."""
        bias = self.weight * _best_means(gallery, queries, self.k)

        def correct(rows: np.ndarray, scores: torch.Tensor) -> torch.Tensor:
            return scores - bias

        return correct


def _best_means(gallery: torch.Tensor, queries: torch.Tensor, k: int, block_size: int = 1024) -> torch.Tensor:
    """Mean `[gallery]` of the `k` highest scores of each item, float64."""
    columns = queries.double().T
    best = [
        (block.double() @ columns).topk(min(k, len(queries)), dim=1).values.mean(dim=1)
        for block in gallery.split(block_size)
    ]
    return torch.cat(best)
