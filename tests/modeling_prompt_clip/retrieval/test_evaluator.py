import pytest
import torch
from sentence_transformers.base.evaluation import BaseEvaluator

from modeling_prompt_clip.retrieval import EncodedSplit, TextToImageEvaluator, encode_images, retrieval_metrics
from modeling_prompt_clip.retrieval import evaluator as evaluator_module


def test_every_caption_belongs_to_its_image_and_person(tiny_model, tiny_processor, people):
    encoded = TextToImageEvaluator(people, tiny_processor).encode(tiny_model)
    assert encoded.image_embeds.shape == (12, 24)
    assert encoded.text_embeds.shape == (18, 24)
    assert encoded.image_person_ids.tolist() == people["person_id"][:]
    for caption, row, person_id in zip(
        encoded.captions, encoded.caption_image_rows.tolist(), encoded.text_person_ids.tolist(), strict=True
    ):
        assert caption in people[row]["captions"]
        assert people[row]["person_id"] == person_id


def test_both_directions_are_ranked(tiny_model, tiny_processor, people):
    evaluator = TextToImageEvaluator(people, tiny_processor, batch_size=5)
    encoded = evaluator.encode(tiny_model)
    results = evaluator.by_direction(tiny_model)
    texts = encoded.text_embeds, encoded.text_person_ids
    images = encoded.image_embeds, encoded.image_person_ids
    assert list(results) == ["text_to_image", "image_to_text"]
    assert results["text_to_image"] == retrieval_metrics(texts[0], images[0], texts[1], images[1])
    assert results["image_to_text"] == retrieval_metrics(images[0], texts[0], images[1], texts[1])
    assert (results["text_to_image"].queries, results["text_to_image"].gallery) == (18, 12)


def test_called_it_keeps_the_contract_of_sentence_transformers(tiny_model, tiny_processor, people):
    evaluator = TextToImageEvaluator(people, tiny_processor, ks=(7, 2))
    flat, nested = evaluator(tiny_model), evaluator.by_direction(tiny_model)
    assert evaluator.greater_is_better and evaluator.primary_metric == "text_to_image_R@2"
    assert flat[evaluator.primary_metric] == nested["text_to_image"].recalls[2]
    assert flat == {
        f"{direction}_{name}": value for direction in nested for name, value in nested[direction].to_dict().items()
    }
    assert {type(value) for value in flat.values()} == {float}
    assert [name for name in flat if "R@" in name] == [
        f"{direction}_R@{k}" for direction in ("text_to_image", "image_to_text") for k in (2, 7)
    ]
    logged = BaseEvaluator.prefix_name_to_metrics(evaluator, dict(flat), "people")  # as their own evaluators do
    assert logged[evaluator.primary_metric] == logged["people_text_to_image_R@2"]


@pytest.mark.parametrize("ks", [(), (0,), (1, 1), (1.0,), (True,), ("1",), (-5, 1), 5, None])
def test_ranks_that_are_none_are_refused(people, tiny_processor, ks):
    with pytest.raises(ValueError, match=r"ks is .*; give each rank once, as integers from 1"):
        TextToImageEvaluator(people, tiny_processor, ks=ks)


def test_workers_prepare_images_and_change_nothing(tiny_model, tiny_processor, people, monkeypatch):
    asked_for = []

    def spy(*args, num_workers, **options):
        asked_for.append(num_workers)
        return encode_images(*args, num_workers=num_workers, **options)

    monkeypatch.setattr(evaluator_module, "encode_images", spy)
    alone, together = (
        TextToImageEvaluator(people, tiny_processor, batch_size=5, num_workers=workers).encode(tiny_model)
        for workers in (0, 2)
    )
    assert asked_for == [0, 2]
    assert torch.equal(alone.image_embeds, together.image_embeds)


def test_the_direction_is_not_mixed_up(people, tiny_processor):
    # Captions 0 and 1 are of person 0; image 1 (of person 1) is nearest to caption 1.
    encoded = EncodedSplit(
        image_embeds=torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        text_embeds=torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        image_person_ids=torch.tensor([0, 1]),
        text_person_ids=torch.tensor([0, 0]),
        captions=["one", "two"],
        caption_image_rows=torch.tensor([0, 0]),
    )
    results = TextToImageEvaluator(people, tiny_processor).metrics(encoded)
    assert results["text_to_image"].rank_1 == 50
    assert (results["image_to_text"].rank_1, results["image_to_text"].unanswerable_queries) == (100, 1)


def test_an_empty_split_is_refused(people, tiny_processor):
    with pytest.raises(ValueError, match="the data set is empty"):
        TextToImageEvaluator(people.select([]), tiny_processor)


def test_a_missing_column_is_named(people, tiny_processor):
    with pytest.raises(ValueError, match="no column 'person_id'"):
        TextToImageEvaluator(people.remove_columns("person_id"), tiny_processor)


@pytest.mark.parametrize(("captions", "problem"), [([], "no caption"), (["a man", " \n"], "blank caption")])
def test_a_row_without_words_is_named(people, tiny_processor, captions, problem):
    damaged = people.map(
        lambda record, row: {"captions": captions if row == 7 else record["captions"]}, with_indices=True
    )
    with pytest.raises(ValueError, match=f"row 7 of the data set has .*{problem}"):
        TextToImageEvaluator(damaged, tiny_processor)
