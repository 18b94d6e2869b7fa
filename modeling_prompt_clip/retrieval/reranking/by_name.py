"""Re-ranking methods by name; their results are reported separately."""

from modeling_prompt_clip.retrieval.reranking.k_reciprocal import KReciprocal
from modeling_prompt_clip.retrieval.reranking.knn_correction import KnnCorrection

__all__ = ["RERANKINGS"]

RERANKINGS = {"k_reciprocal": KReciprocal, "knn": KnnCorrection}
