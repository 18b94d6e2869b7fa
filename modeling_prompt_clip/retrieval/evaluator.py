"""Evaluate text-to-image person search on one split, in both directions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from modeling_prompt_clip.processing_prompt_clip import PromptCLIPProcessor
from modeling_prompt_clip.retrieval.encoding import encode_captions, encode_images
from modeling_prompt_clip.retrieval.metrics.query_metrics import (
    KS,
    QueryValues,
    RetrievalMetrics,
    Ties,
    checked_ks,
    query_values,
)
from modeling_prompt_clip.retrieval.metrics.ranking import Reranking

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["PROTOCOL", "EncodedSplit", "TextToImageEvaluator"]

TEXT_TO_IMAGE, IMAGE_TO_TEXT = "text_to_image", "image_to_text"
PROTOCOL = (
    "every caption queries all images of the split; relevant = same person_id; R@k = a relevant item among the first "
    "k; ties resolved pessimistically; no re-ranking"
)


@dataclass(frozen=True)
class EncodedSplit:
    """A split as one model sees it."""

    image_embeds: torch.Tensor  # `[images, dim]` unit vectors, float32, in the order of the data set
    text_embeds: torch.Tensor  # `[captions, dim]` likewise, the captions of the first image first
    image_person_ids: torch.Tensor  # `[images]` int64
    text_person_ids: torch.Tensor  # `[captions]` int64
    captions: list[str]  # the sentences, one for each row of `text_embeds`
    caption_image_rows: torch.Tensor  # `[captions]` int64, the row of the image that each sentence describes


class TextToImageEvaluator:
    """Compute R@k, mAP and mINP on a split, called as sentence-transformers' evaluators.

    ```python
    >>> evaluator = TextToImageEvaluator(load_person_search("synthetic_pedes", split="validation"), processor)
    >>> evaluator(model)[evaluator.primary_metric]
    ```

    Args:
        dataset: rows with `image`, `person_id` and `captions` (a list of sentences).
        processor: the model's own.
        ks: ranks of R@k, integers from 1; `primary_metric` is R@k, text to image, at the lowest.
        batch_size: images, or captions, per forward pass.
        progress: show bars on stderr for passes that take more than two seconds.
        num_workers: processes that prepare images; the figures do not depend on it.

    Raises ValueError: missing rows, columns, captions or words, or wrong `ks`.
    """

    greater_is_better = True

    def __init__(
        self,
        dataset: "Dataset",
        processor: PromptCLIPProcessor,
        *,
        ks: Sequence[int] = KS,
        batch_size: int = 64,
        progress: bool = True,
        num_workers: int = 0,
    ) -> None:
        check_split(dataset)
        self.ks = checked_ks(ks)
        self.primary_metric = f"{TEXT_TO_IMAGE}_R@{self.ks[0]}"
        self.dataset = dataset
        self.processor = processor
        self.batch_size = batch_size
        self.progress = progress
        self.num_workers = num_workers

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Metrics such as "text_to_image_R@1": percentages, and counts as floats."""
        return {
            f"{direction}_{name}": float(value)
            for direction, metrics in self.by_direction(model).items()
            for name, value in metrics.to_dict().items()
        }

    def by_direction(self, model: nn.Module) -> dict[str, RetrievalMetrics]:
        """Metrics under "text_to_image" and "image_to_text"."""
        return self.metrics(self.encode(model))

    def encode(self, model: nn.Module) -> EncodedSplit:
        """Embed every image and every caption once."""
        captions = self.dataset["captions"][:]
        rows = torch.tensor([row for row, sentences in enumerate(captions) for _ in sentences])
        sentences = [sentence for group in captions for sentence in group]
        person_ids = torch.tensor(self.dataset["person_id"][:])
        options: dict[str, Any] = {"batch_size": self.batch_size, "progress": self.progress}
        images = self.dataset["image"]
        return EncodedSplit(
            image_embeds=encode_images(model, self.processor, images, num_workers=self.num_workers, **options),
            text_embeds=encode_captions(model, self.processor, sentences, **options),
            image_person_ids=person_ids,
            text_person_ids=person_ids[rows],
            captions=sentences,
            caption_image_rows=rows,
        )

    def metrics(self, encoded: EncodedSplit) -> dict[str, RetrievalMetrics]:
        """Metrics of an encoded split, by direction."""
        return {direction: values.mean() for direction, values in self.query_values(encoded).items()}

    def query_values(
        self, encoded: EncodedSplit, ties: Ties = "pessimistic", rerank: Reranking | None = None
    ) -> dict[str, QueryValues]:
        """Rank an encoded split in both directions; the same `person_id` is relevant.

        Args:
            encoded: from `encode`.
            ties: as for `retrieval_metrics`; the protocol is pessimistic.
            rerank: as for `query_values`; the protocol has none.
        """
        images = encoded.image_embeds, encoded.image_person_ids
        texts = encoded.text_embeds, encoded.text_person_ids
        options: dict[str, Any] = {"ks": self.ks, "ties": ties, "rerank": rerank}
        return {
            TEXT_TO_IMAGE: query_values(texts[0], images[0], texts[1], images[1], **options),
            IMAGE_TO_TEXT: query_values(images[0], texts[0], images[1], texts[1], **options),
        }


def check_split(dataset: "Dataset") -> None:
    """Raise ValueError unless each row has a person and captions with words."""
    missing = sorted({"image", "person_id", "captions"} - set(dataset.column_names))
    if missing:
        raise ValueError(f"the data set has no column {missing[0]!r}, only {dataset.column_names}")
    if not len(dataset):
        raise ValueError("the data set is empty; choose a split with images")
    for row, captions in enumerate(dataset["captions"]):
        if not captions:
            raise ValueError(f"row {row} of the data set has no caption; every image needs at least one")
        if not all(caption.strip() for caption in captions):
            raise ValueError(f"row {row} of the data set has a blank caption in {captions!r}; remove or write it")
