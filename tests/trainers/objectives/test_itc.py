import math

import pytest
import torch

from trainers.objectives.itc import itc_loss


def naive_itc(cosines: list[list[float]], targets: list[list[float]], temperature: float):
    """Cross entropy of rows and of columns, halved, entry by entry."""
    count, total = len(cosines), 0.0
    for rows in (cosines, list(zip(*cosines, strict=True))):
        for i in range(count):
            logits = [cosine / temperature for cosine in rows[i]]
            log_sum = max(logits) + math.log(sum(math.exp(logit - max(logits)) for logit in logits))
            total -= sum(q * (logit - log_sum) for q, logit in zip(targets[i], logits, strict=True)) / count
    return total / 2


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("same_person_targets", [False, True])
def test_equals_the_naive_loop(pairs: tuple[torch.Tensor, ...], same_person_targets: bool, label_smoothing: float):
    images, texts, person_ids = pairs
    ids = person_ids if same_person_targets else torch.arange(len(person_ids))
    targets = [[float(a == b) / int((ids == b).sum()) for a in ids] for b in ids]
    targets = [[(1 - label_smoothing) * q + label_smoothing / len(ids) for q in row] for row in targets]
    expected = naive_itc((images @ texts.T).tolist(), targets, 0.05)
    actual = itc_loss(
        *pairs, temperature=0.05, same_person_targets=same_person_targets, label_smoothing=label_smoothing
    )
    assert actual.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("same_person_targets", [False, True])
@pytest.mark.parametrize("count", [1, 4, 9])
def test_identical_embeddings_cost_log_n(count: int, same_person_targets: bool):
    embeds = torch.ones(count, 4, dtype=torch.float64) / 2
    loss = itc_loss(embeds, embeds, torch.arange(count) // 2, same_person_targets=same_person_targets)
    assert loss.item() == pytest.approx(math.log(count), abs=1e-12)


def test_perfect_pairs_cost_nothing_at_a_low_temperature():
    assert itc_loss(torch.eye(4), torch.eye(4), temperature=0.01).item() == pytest.approx(0, abs=1e-6)


def test_distinct_persons_make_soft_targets_hard(pairs: tuple[torch.Tensor, ...]):
    images, texts, _ = pairs
    distinct = torch.arange(len(images)) + 100
    soft = itc_loss(images, texts, distinct, same_person_targets=True)
    assert soft.item() == pytest.approx(itc_loss(images, texts).item(), rel=1e-12, abs=1e-12)


def test_swapping_images_and_captions_changes_nothing(pairs: tuple[torch.Tensor, ...]):
    images, texts, person_ids = pairs
    for soft in (False, True):
        swapped = itc_loss(texts, images, person_ids, same_person_targets=soft)
        assert swapped.item() == pytest.approx(itc_loss(*pairs, same_person_targets=soft).item(), rel=1e-12, abs=1e-12)


def test_the_order_of_pairs_changes_nothing(pairs: tuple[torch.Tensor, ...]):
    order = torch.randperm(len(pairs[2]), generator=torch.Generator().manual_seed(5))
    for soft in (False, True):
        shuffled = itc_loss(*(tensor[order] for tensor in pairs), same_person_targets=soft)
        assert shuffled.item() == pytest.approx(
            itc_loss(*pairs, same_person_targets=soft).item(), rel=1e-12, abs=1e-12
        )


@pytest.mark.parametrize("soft", [False, True])
def test_gradients_are_right_for_embeddings_and_a_learned_temperature(pairs: tuple[torch.Tensor, ...], soft: bool):
    images, texts, person_ids = pairs
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    inputs = (images.clone().requires_grad_(), texts.clone().requires_grad_(), temperature)
    assert torch.autograd.gradcheck(
        lambda a, b, t: itc_loss(a, b, person_ids, temperature=t, same_person_targets=soft, label_smoothing=0.1),
        inputs,
    )


@pytest.mark.parametrize("temperature", [1e-6, 0.02, 100])
@pytest.mark.parametrize("soft", [False, True])
def test_extremes_stay_finite(extreme_pairs: tuple[torch.Tensor, ...], temperature: float, soft: bool):
    images, texts, person_ids = extreme_pairs
    loss = itc_loss(images, texts, person_ids, temperature=temperature, same_person_targets=soft)
    loss.backward()
    assert loss.isfinite() and images.grad.isfinite().all() and texts.grad.isfinite().all()


@pytest.mark.parametrize("soft", [False, True])
def test_bfloat16_embeddings_give_a_float32_loss(pairs: tuple[torch.Tensor, ...], soft: bool):
    images, texts, person_ids = (tensor.bfloat16() if tensor.is_floating_point() else tensor for tensor in pairs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = itc_loss(images, texts, person_ids, same_person_targets=soft)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, itc_loss(images.float(), texts.float(), person_ids, same_person_targets=soft))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"same_person_targets": True}, "person_ids is None"),
        ({"label_smoothing": 1}, "label_smoothing is 1"),
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1"),
        ({"temperature": 0}, "temperature is 0"),
    ],
)
def test_bad_options_are_refused(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        itc_loss(torch.ones(2, 3), torch.ones(2, 3), **options)
