"""Rank images of people by sentence: embeddings, metrics, search, pictures."""

from pathlib import Path

from modeling_prompt_clip.retrieval.encoding import encode_captions, encode_images
from modeling_prompt_clip.retrieval.evaluator import PROTOCOL, EncodedSplit, TextToImageEvaluator
from modeling_prompt_clip.retrieval.metrics.intervals import Comparison, Interval, bootstrap_intervals, compare_models
from modeling_prompt_clip.retrieval.metrics.open_set import (
    OpenSetRates,
    OpenSetScores,
    calibrate_threshold,
    open_set_rates,
    open_set_scores,
)
from modeling_prompt_clip.retrieval.metrics.query_metrics import (
    KS,
    QueryValues,
    RetrievalMetrics,
    checked_ks,
    query_values,
    retrieval_metrics,
)
from modeling_prompt_clip.retrieval.metrics.rank_curves import RankCurves, rank_curves
from modeling_prompt_clip.retrieval.pictures import SheetRow, Tile, contact_sheet, dataset_sheet, ranked_strips
from modeling_prompt_clip.retrieval.reranking.by_name import RERANKINGS
from modeling_prompt_clip.retrieval.reranking.k_reciprocal import KReciprocal
from modeling_prompt_clip.retrieval.reranking.knn_correction import KnnCorrection
from modeling_prompt_clip.retrieval.search import FolderSearcher, SearchHit, search_folder
from modeling_prompt_clip.retrieval.tables import metrics_table

# what `evaluate.load` takes; offline, and without the Hub
PERSON_RETRIEVAL = str(Path(__file__).parent / "person_retrieval")

__all__ = [
    "KS",
    "PERSON_RETRIEVAL",
    "PROTOCOL",
    "RERANKINGS",
    "Comparison",
    "EncodedSplit",
    "FolderSearcher",
    "Interval",
    "KReciprocal",
    "KnnCorrection",
    "OpenSetRates",
    "OpenSetScores",
    "QueryValues",
    "RankCurves",
    "RetrievalMetrics",
    "SearchHit",
    "SheetRow",
    "TextToImageEvaluator",
    "Tile",
    "bootstrap_intervals",
    "calibrate_threshold",
    "checked_ks",
    "compare_models",
    "contact_sheet",
    "dataset_sheet",
    "encode_captions",
    "encode_images",
    "metrics_table",
    "open_set_rates",
    "open_set_scores",
    "query_values",
    "rank_curves",
    "ranked_strips",
    "retrieval_metrics",
    "search_folder",
]
