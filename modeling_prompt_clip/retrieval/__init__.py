"""Ranking images of people by sentence: metrics, evaluation of a split, search of a folder, and pictures."""

from modeling_prompt_clip.retrieval.encoding import encode_captions, encode_images
from modeling_prompt_clip.retrieval.evaluator import PROTOCOL, EncodedSplit, TextToImageEvaluator
from modeling_prompt_clip.retrieval.metrics import RetrievalMetrics, retrieval_metrics
from modeling_prompt_clip.retrieval.report import SheetRow, Tile, contact_sheet, dataset_sheet, ranked_strips
from modeling_prompt_clip.retrieval.search import FolderSearcher, SearchHit, search_folder
from modeling_prompt_clip.retrieval.tables import metrics_table

__all__ = [
    "PROTOCOL",
    "EncodedSplit",
    "FolderSearcher",
    "RetrievalMetrics",
    "SearchHit",
    "SheetRow",
    "TextToImageEvaluator",
    "Tile",
    "contact_sheet",
    "dataset_sheet",
    "encode_captions",
    "encode_images",
    "metrics_table",
    "ranked_strips",
    "retrieval_metrics",
    "search_folder",
]
