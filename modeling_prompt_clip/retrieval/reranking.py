"""Re-ranking methods by name, for results that are reported apart from the plain ones."""

from modeling_prompt_clip.retrieval.k_reciprocal import KReciprocal
from modeling_prompt_clip.retrieval.knn_correction import KnnCorrection

__all__ = ["RERANKINGS"]

RERANKINGS = {"k_reciprocal": KReciprocal, "knn": KnnCorrection}
