"""Figures of a ranking: rank-k, mAP, mINP, their intervals, open-set rates, curves."""

from modeling_prompt_clip.retrieval.metrics.query_metrics import (
    QueryValues,
    RetrievalMetrics,
    query_values,
    retrieval_metrics,
)

__all__ = ["QueryValues", "RetrievalMetrics", "query_values", "retrieval_metrics"]
