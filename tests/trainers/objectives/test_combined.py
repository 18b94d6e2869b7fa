import math

import pytest
import torch

from trainers.objectives import (
    OBJECTIVES,
    CombinedObjective,
    citc_loss,
    id_loss,
    itc_loss,
    sdm_loss,
    tal_loss,
)

SIZES = {"embedding_dim": 8, "num_identities": 3, "vocab_size": 11}


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    images, texts = torch.nn.functional.normalize(torch.randn(2, 6, 8, generator=generator), dim=-1)
    person_ids = torch.tensor([10, 10, 20, 30, 30, 30])
    return images, texts, person_ids, torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([1, 2, 3, 4, 4, 5])


def test_total_is_the_weighted_sum_of_every_objective(batch: tuple[torch.Tensor, ...]):
    images, texts, person_ids, labels, image_ids = batch
    weights = {"sdm": 1.0, "itc": 0.25, "tal": 2, "citc": 0.1, "id": 0.5, "mlm": 3}
    options = {
        "sdm": {"temperature": 0.05, "same_person_weight": 0.3},
        "itc": {"same_image_weight": 1.0, "same_person_weight": 0.2},
        "tal": {"margin": 0.3},
        "citc": {"in_modal_weight": 0.5},
        "id": {"label_smoothing": 0.1},
        "mlm": {"layers": 1},
    }
    objective = CombinedObjective(weights, options, **SIZES)
    mlm = torch.tensor(1.5, requires_grad=True)
    total, terms = objective(images, texts, person_ids, labels, image_ids, mlm)
    head = objective.identity_head
    expected = {
        "sdm": sdm_loss(images, texts, person_ids, temperature=0.05, image_ids=image_ids, same_person_weight=0.3),
        "itc": itc_loss(images, texts, person_ids, image_ids=image_ids, same_image_weight=1.0, same_person_weight=0.2),
        "tal": tal_loss(images, texts, person_ids, margin=0.3),
        "citc": citc_loss(images, texts, in_modal_weight=0.5),
        "id": id_loss(head(images), head(texts), labels, label_smoothing=0.1),
        "mlm": mlm,
    }
    assert tuple(terms) == tuple(expected) == OBJECTIVES
    for name, value in expected.items():
        assert torch.equal(terms[name], value) and not terms[name].requires_grad
    torch.testing.assert_close(total, sum(weights[name] * value for name, value in expected.items()))


def test_gradients_reach_the_embeddings_and_the_head(batch: tuple[torch.Tensor, ...]):
    images, texts, person_ids, labels, _ = batch
    images.requires_grad_()
    objective = CombinedObjective({"sdm": 1, "id": 1}, embedding_dim=8, num_identities=3)
    objective(images, texts, person_ids, labels)[0].backward()
    assert images.grad.any() and all(parameter.grad.any() for parameter in objective.parameters())


def test_only_id_and_mlm_have_parameters(batch: tuple[torch.Tensor, ...]):
    plain = CombinedObjective({"sdm": 1, "itc": 1, "tal": 1, "citc": 1, "id": 0, "mlm": 0})
    assert not list(plain.parameters()) and set(plain(*batch[:3])[1]) == {"sdm", "itc", "tal", "citc"}
    with_head = CombinedObjective({"id": 1}, embedding_dim=8, num_identities=3)
    assert {name: tuple(p.shape) for name, p in with_head.named_parameters()} == {
        "identity_head.classifier.weight": (3, 8),
        "identity_head.classifier.bias": (3,),
    }
    masked = CombinedObjective({"mlm": 1}, {"mlm": {"layers": 2}}, embedding_dim=8, vocab_size=11)
    assert len(masked.mlm_head.layers) == 2
    assert masked.mlm_head.classifier.weight.shape == (11, 8)


def test_irras_number_of_layers_is_the_default():
    assert len(CombinedObjective({"mlm": 1}, embedding_dim=8, vocab_size=11).mlm_head.layers) == 4


def test_options_of_an_unused_objective_change_nothing(batch: tuple[torch.Tensor, ...]):
    images, texts, person_ids, *_ = batch
    objective = CombinedObjective({"itc": 1}, {"sdm": {"temperature": 0.5}})
    assert torch.equal(objective(images, texts, person_ids)[0], itc_loss(images, texts, person_ids))


@pytest.mark.parametrize(
    ("weights", "options", "error", "message"),
    [
        ({"sdn": 1}, None, ValueError, "'sdn' is no objective: did you mean 'sdm'"),
        ({"sdm": -1}, None, ValueError, "weight of objective 'sdm' is -1"),
        ({"sdm": float("nan")}, None, ValueError, "weight of objective 'sdm' is nan"),
        ({"sdm": "1"}, None, TypeError, "weight of objective 'sdm' is '1'"),
        ({"sdm": True}, None, TypeError, "weight of objective 'sdm' is True"),
        ({"sdm": 0, "itc": 0}, None, ValueError, "at least one must be above 0"),
        ({}, None, ValueError, "at least one must be above 0"),
        ({"sdm": 1}, {"smd": {}}, ValueError, "'smd' is no objective: did you mean 'sdm'"),
        ({"sdm": 1}, {"sdm": {"temprature": 1}}, ValueError, "option of objective 'sdm': did you mean 'temperature'"),
        ({"sdm": 1}, {"sdm": {"image_ids": 1}}, ValueError, "'image_ids' is no option"),
        ({"sdm": 1}, {"sdm": {"temperature": -1}}, ValueError, "temperature is -1"),
        ({"tal": 1}, {"tal": {"margin": 3}}, ValueError, "margin is 3"),
        ({"itc": 1}, {"itc": {"label_smoothing": 2}}, ValueError, "label_smoothing is 2"),
        ({"id": 1}, None, ValueError, "embedding_dim is None and num_identities is None: the objective 'id'"),
        ({"mlm": 1}, None, ValueError, "embedding_dim is None and vocab_size is None: the objective 'mlm'"),
        ({"citc": 1}, {"citc": {"in_modal_weight": -1}}, ValueError, "in_modal_weight is -1"),
        ({"sdm": 1}, {"mlm": {"layer": 1}}, ValueError, "option of objective 'mlm': did you mean 'layers'"),
    ],
)
def test_bad_settings_are_refused_at_construction(weights: dict, options: dict, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        CombinedObjective(weights, options)


def test_missing_labels_are_named(batch: tuple[torch.Tensor, ...]):
    objective = CombinedObjective({"id": 1}, embedding_dim=8, num_identities=3)
    with pytest.raises(ValueError, match="labels is None"):
        objective(*batch[:3])


def test_a_missing_loss_of_masked_captions_is_named(batch: tuple[torch.Tensor, ...]):
    objective = CombinedObjective({"mlm": 1}, embedding_dim=8, vocab_size=11)
    with pytest.raises(ValueError, match="mlm is None"):
        objective(*batch[:3])


def test_learned_temperatures_start_from_the_settings_and_are_reported(batch: tuple[torch.Tensor, ...]):
    images, texts, person_ids, *_ = batch
    weights, options = {"sdm": 1.0, "itc": 0.5, "tal": 2.0}, {"sdm": {"temperature": 0.05}}
    learned = CombinedObjective(weights, options, learn_temperature=True)
    given = {"sdm": 0.05, "itc": 0.07, "tal": 0.015}
    assert {name: tuple(p.shape) for name, p in learned.named_parameters()} == {
        f"log_temperatures.{name}": (1,) for name in given
    }
    total, terms = learned(images, texts, person_ids)
    plain_total, plain_terms = CombinedObjective(weights, options)(images, texts, person_ids)
    torch.testing.assert_close(total, plain_total)
    assert set(plain_terms) == set(weights)
    for name, temperature in given.items():
        assert terms[f"{name}_temperature"].item() == pytest.approx(temperature)
        assert not terms[f"{name}_temperature"].requires_grad
        torch.testing.assert_close(terms[name], plain_terms[name])


@pytest.mark.parametrize("name", ["sdm", "itc"])
def test_the_gradient_of_a_learned_temperature_is_the_difference_quotient(batch: tuple[torch.Tensor, ...], name: str):
    images, texts, person_ids, *_ = (value.double() if value.is_floating_point() else value for value in batch)
    objective = CombinedObjective({name: 1.0}, {name: {"temperature": 0.2}}, learn_temperature=True).double()
    objective(images, texts, person_ids)[0].backward()

    def at(logarithm: float) -> float:
        options = {name: {"temperature": math.exp(logarithm)}}
        return CombinedObjective({name: 1.0}, options)(images, texts, person_ids)[0].item()

    start, small = math.log(0.2), 1e-5
    quotient = (at(start + small) - at(start - small)) / (2 * small)
    assert objective.log_temperatures[name].grad.item() == pytest.approx(quotient, rel=1e-5)


def test_tal_only_ever_wants_a_lower_temperature(batch: tuple[torch.Tensor, ...]):
    objective = CombinedObjective({"tal": 1.0}, {"tal": {"temperature": 0.2}}, learn_temperature=True)
    objective(*batch[:3])[0].backward()
    assert objective.log_temperatures["tal"].grad > 0


def test_learned_temperatures_stay_at_a_hundredth_or_above(batch: tuple[torch.Tensor, ...]):
    objective = CombinedObjective({"tal": 1.0, "sdm": 1.0}, learn_temperature=True)
    with torch.no_grad():
        objective.log_temperatures["tal"].fill_(math.log(0.001))
    objective.limit_temperatures()
    terms = objective(*batch[:3])[1]
    assert terms["tal_temperature"].item() == pytest.approx(0.01)
    assert terms["sdm_temperature"].item() == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        ({"citc": 1.0, "sdm": 0.0}, None, "learn_temperature is set, but citc has no temperature.*sdm, itc, tal"),
        ({"tal": 1.0}, {"tal": {"temperature": 0.005}}, "tal_temperature, which is to be learned, is 0.005.*0.01"),
    ],
)
def test_temperatures_that_cannot_be_learned_are_refused(weights: dict, options: dict | None, message: str):
    with pytest.raises(ValueError, match=message):
        CombinedObjective(weights, options, learn_temperature=True)
