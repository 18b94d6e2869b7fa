import pytest
import torch

from trainers.objectives.pairs import (
    check_ids,
    check_pairs,
    check_temperature,
    loss_dtype,
    row_distributions,
    same_id,
    similarities,
)


@pytest.mark.parametrize(
    ("image_embeds", "text_embeds", "person_ids", "error", "message"),
    [
        (torch.ones(3, 4).long(), torch.ones(3, 4), torch.arange(3), TypeError, "image_embeds has dtype torch.int64"),
        (torch.ones(3), torch.ones(3), torch.arange(3), ValueError, r"image_embeds has shape \(3,\)"),
        (torch.ones(0, 4), torch.ones(0, 4), torch.arange(0), ValueError, "at least one pair"),
        (torch.ones(3, 4), torch.ones(2, 4), torch.arange(3), ValueError, "repeat an image's embedding"),
        (torch.ones(3, 4), torch.ones(3, 5), torch.arange(3), ValueError, r"\(3, 4\) and text_embeds \(3, 5\)"),
        (torch.ones(3, 4), torch.ones(3, 4), torch.arange(4), ValueError, r"person_ids has shape \(4,\)"),
        (torch.ones(3, 4), torch.ones(3, 4), torch.ones(3), TypeError, "person_ids has dtype torch.float32"),
    ],
)
def test_a_batch_that_is_not_n_pairs_is_refused(
    image_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    person_ids: torch.Tensor,
    error: type[Exception],
    message: str,
):
    with pytest.raises(error, match=message):
        check_pairs(image_embeds, text_embeds, person_ids)


def test_boolean_ids_are_refused():
    with pytest.raises(TypeError, match="labels has dtype torch.bool"):
        check_ids("labels", torch.tensor([True, False]), 2)


@pytest.mark.parametrize("temperature", [0, -0.1, float("nan"), float("inf"), torch.ones(1)])
def test_a_bad_temperature_is_refused(temperature: object):
    with pytest.raises(ValueError, match="temperature is"):
        check_temperature(temperature)


@pytest.mark.parametrize("temperature", ["0.02", None, True])
def test_a_temperature_that_is_no_number_is_refused(temperature: object):
    with pytest.raises(TypeError, match="temperature is"):
        check_temperature(temperature)


def test_losses_compute_in_float64_only_when_given_float64():
    half, single, double = (torch.ones(1, dtype=d) for d in (torch.bfloat16, torch.float32, torch.float64))
    assert loss_dtype(half, half) == loss_dtype(half, single) == torch.float32
    assert loss_dtype(single, double) == torch.float64


def test_similarities_ignore_autocast():
    generator = torch.Generator().manual_seed(0)
    image_embeds, text_embeds = torch.randn(2, 5, 64, generator=generator)
    expected = image_embeds @ text_embeds.T
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (image_embeds @ text_embeds.T).dtype == torch.bfloat16
        actual = similarities(image_embeds, text_embeds)
    assert torch.equal(actual, expected)


def test_matches_and_distributions_of_a_small_batch():
    matches = same_id(torch.tensor([7, 3, 7]))
    assert matches.tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    assert row_distributions(matches.double()).tolist() == [[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]]
