"""`retrieval_metrics` for `evaluate.load(PERSON_RETRIEVAL)`."""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from modeling_prompt_clip.retrieval.metrics.query_metrics import KS, Ties, retrieval_metrics

DESCRIPTION = """\
Rank-k, mAP and mINP of text-to-image person re-identification: every query ranks the whole gallery by inner product,
and what has the query's person_id is relevant."""

INPUTS = """\
Args:
    predictions: embeddings of the queries, [queries, dim].
    references: person_id of each query.
    gallery_embeds: embeddings of the gallery, [gallery, dim].
    gallery_person_ids: person_id of each of them.
    ks: where R@k is computed, by default 1, 5, 10.
    ties: 'pessimistic' (default), 'optimistic' or 'expected'.
Returns:
    R@k, mAP and mINP in percent, and the sizes: queries, gallery, unanswerable_queries.
Examples:
    >>> metric = evaluate.load(PERSON_RETRIEVAL)
    >>> metric.add_batch(predictions=text_embeds, references=person_ids)
    >>> metric.compute(gallery_embeds=image_embeds, gallery_person_ids=image_person_ids)["R@1"]
"""


class PersonRetrieval(evaluate.Metric):
    """Collect queries batch by batch; `compute` takes the gallery."""

    def _info(self) -> evaluate.MetricInfo:
        features = {"predictions": datasets.List(datasets.Value("float32")), "references": datasets.Value("int64")}
        return evaluate.MetricInfo(
            description=DESCRIPTION, citation="", inputs_description=INPUTS, features=datasets.Features(features)
        )

    def _compute(
        self,
        predictions: Any,
        references: Any,
        gallery_embeds: Any,
        gallery_person_ids: Any,
        ks: Sequence[int] = KS,
        ties: Ties = "pessimistic",
    ) -> dict[str, float | int]:
        queries = np.asarray(predictions, dtype=np.float32)
        gallery = np.asarray(gallery_embeds, dtype=np.float32)
        ids = np.asarray(references), gallery_person_ids
        return retrieval_metrics(queries, gallery, *ids, ks=ks, ties=ties).to_dict()
