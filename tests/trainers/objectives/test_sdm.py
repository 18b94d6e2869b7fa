import math

import pytest
import torch

from trainers.objectives.sdm import sdm_loss


def naive_sdm(cosines: list[list[float]], weights: list[list[float]], temperature: float, eps: float):
    """KL(p || q + eps) of rows, plus the same of columns, entry by entry."""
    count, total = len(cosines), 0.0
    for rows in (cosines, list(zip(*cosines, strict=True))):
        for i in range(count):
            exps = [math.exp((rows[i][j] - max(rows[i])) / temperature) for j in range(count)]
            for j in range(count):
                p = exps[j] / sum(exps)
                q = weights[i][j] / sum(weights[i])
                total += (p * (math.log(p) - math.log(q + eps)) if p > 0 else 0.0) / count
    return total


@pytest.mark.parametrize("temperature", [0.02, 0.3])
def test_equals_the_naive_loop(pairs: tuple[torch.Tensor, ...], temperature: float):
    images, texts, person_ids = pairs
    weights = [[float(a == b) for a in person_ids] for b in person_ids]
    expected = naive_sdm((images @ texts.T).tolist(), weights, temperature, 1e-8)
    assert sdm_loss(*pairs, temperature=temperature).item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_soft_targets_equal_the_naive_loop_and_are_normalised_by_row(pairs: tuple[torch.Tensor, ...]):
    images, texts, person_ids = pairs
    image_ids = 10 * person_ids + torch.arange(len(person_ids)) % 2
    weights = [
        [1.0 if x == y else 0.3 * float(a == b) for a, x in zip(person_ids, image_ids, strict=True)]
        for b, y in zip(person_ids, image_ids, strict=True)
    ]
    expected = naive_sdm((images @ texts.T).tolist(), weights, 0.1, 1e-8)
    actual = sdm_loss(*pairs, temperature=0.1, image_ids=image_ids, same_person_weight=0.3)
    assert actual.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_soft_targets_are_reached_exactly_when_every_row_is_a_distribution():
    # Three captions, two of one image: the rows of w have sums 2.3, 2.3 and 1.6. With log w as logits, p is w divided
    # by its row sums, so the loss is 0; IRRA's division by column sums would leave a rest.
    weights = torch.tensor([[1, 1, 0.3], [1, 1, 0.3], [0.3, 0.3, 1]], dtype=torch.float64)
    ids = {"person_ids": torch.tensor([0, 0, 0]), "image_ids": torch.tensor([0, 0, 1])}
    options = {"temperature": 1.0, "same_person_weight": 0.3, "eps": 1e-15}
    loss = sdm_loss(weights.log(), torch.eye(3).double(), **ids, **options)
    assert loss.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("count", [1, 4, 9])
def test_identical_embeddings_give_the_closed_form(count: int):
    # p is uniform and q the identity: (1/N) log((1/N) / (1 + eps)) + (N-1)/N log((1/N) / eps), in both directions.
    embeds = torch.ones(count, 4, dtype=torch.float64) / 2
    one, rest = 1 / count, (count - 1) / count
    expected = 2 * (one * math.log(one / (1 + 1e-8)) + rest * (math.log(one) - math.log(1e-8)))
    assert sdm_loss(embeds, embeds, torch.arange(count)).item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_identical_embeddings_of_one_person_cost_nothing():
    embeds = torch.ones(5, 4, dtype=torch.float64) / 2
    assert sdm_loss(embeds, embeds, torch.zeros(5).long()).item() == pytest.approx(0, abs=1e-6)


def test_swapping_images_and_captions_changes_nothing(pairs: tuple[torch.Tensor, ...]):
    images, texts, person_ids = pairs
    assert sdm_loss(texts, images, person_ids).item() == pytest.approx(sdm_loss(*pairs).item(), rel=1e-12)


def test_the_order_of_pairs_changes_nothing(pairs: tuple[torch.Tensor, ...]):
    order = torch.randperm(len(pairs[2]), generator=torch.Generator().manual_seed(5))
    shuffled = sdm_loss(*(tensor[order] for tensor in pairs))
    assert shuffled.item() == pytest.approx(sdm_loss(*pairs).item(), rel=1e-12)


def test_gradients_are_right(pairs: tuple[torch.Tensor, ...]):
    images, texts, person_ids = pairs
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    inputs = (images.clone().requires_grad_(), texts.clone().requires_grad_(), temperature)
    assert torch.autograd.gradcheck(lambda a, b, t: sdm_loss(a, b, person_ids, temperature=t), inputs)


@pytest.mark.parametrize("temperature", [1e-6, 0.02, 100])
@pytest.mark.parametrize("same_person_weight", [1.0, 0.3, 0.0])
def test_extremes_stay_finite(extreme_pairs: tuple[torch.Tensor, ...], temperature: float, same_person_weight: float):
    images, texts, person_ids = extreme_pairs
    options = {"image_ids": torch.arange(len(images)) // 2, "same_person_weight": same_person_weight}
    loss = sdm_loss(images, texts, person_ids, temperature=temperature, **options)
    loss.backward()
    assert loss.isfinite() and images.grad.isfinite().all() and texts.grad.isfinite().all()


def test_bfloat16_embeddings_give_a_float32_loss(pairs: tuple[torch.Tensor, ...]):
    images, texts, person_ids = (tensor.bfloat16() if tensor.is_floating_point() else tensor for tensor in pairs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = sdm_loss(images, texts, person_ids)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, sdm_loss(images.float(), texts.float(), person_ids))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"same_person_weight": 0.3}, ValueError, "different weights need image_ids"),
        ({"same_person_weight": -1}, ValueError, "same_person_weight is -1"),
        ({"same_image_weight": 0}, ValueError, "same_image_weight is 0"),
        ({"eps": 0}, ValueError, "eps is 0"),
        ({"temperature": "hot"}, TypeError, "temperature is 'hot'"),
        ({"image_ids": torch.arange(3)}, ValueError, r"image_ids has shape \(3,\)"),
    ],
)
def test_bad_options_are_refused(options: dict, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        sdm_loss(torch.ones(2, 3), torch.ones(2, 3), torch.arange(2), **options)
