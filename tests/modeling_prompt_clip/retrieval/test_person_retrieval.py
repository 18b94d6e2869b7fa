import evaluate
import numpy as np
import pytest

from modeling_prompt_clip.retrieval import PERSON_RETRIEVAL, retrieval_metrics


@pytest.fixture
def load(tmp_path):
    """Loads the metric with a cache of its own."""
    return lambda: evaluate.load(PERSON_RETRIEVAL, cache_dir=str(tmp_path))


@pytest.fixture
def split():
    random = np.random.default_rng(0)
    embeds = [random.normal(size=(rows, 8)).astype(np.float32) for rows in (30, 50)]
    return *embeds, random.integers(0, 9, 30), random.integers(0, 9, 50)


def test_batches_give_what_the_function_gives(load, split):
    queries, gallery, query_ids, gallery_ids = split
    metric = load()
    for start in range(0, 30, 7):
        metric.add_batch(predictions=queries[start : start + 7], references=query_ids[start : start + 7])
    figures = metric.compute(gallery_embeds=gallery, gallery_person_ids=gallery_ids)
    assert figures == retrieval_metrics(*split).to_dict()


def test_options_and_combination(load, split):
    queries, gallery, query_ids, gallery_ids = split
    both = evaluate.combine([load(), load()])
    given = {"gallery_embeds": gallery.tolist(), "gallery_person_ids": gallery_ids, "ks": [1, 3], "ties": "optimistic"}
    figures = both.compute(predictions=queries, references=query_ids, **given)
    expected = retrieval_metrics(*split, ks=(1, 3), ties="optimistic").to_dict()
    assert {f"person_retrieval_0_{name}": value for name, value in expected.items()}.items() <= figures.items()
