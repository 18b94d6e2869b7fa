import math

import pytest
import torch

from trainers.objectives.itc import itc_loss

SAME_PERSON = {"same_image_weight": 1.0, "same_person_weight": 1.0}


def naive_itc(cosines: list[list[float]], targets: list[list[float]], temperature: float):
    """Cross entropy of rows and of columns, halved, entry by entry."""
    count, total = len(cosines), 0.0
    for rows in (cosines, list(zip(*cosines, strict=True))):
        for i in range(count):
            logits = [cosine / temperature for cosine in rows[i]]
            log_sum = max(logits) + math.log(sum(math.exp(logit - max(logits)) for logit in logits))
            total -= sum(q * (logit - log_sum) for q, logit in zip(targets[i], logits, strict=True)) / count
    return total / 2


def weighted_targets(person_ids: torch.Tensor, image_ids: torch.Tensor, same_image: float, same_person: float):
    """Rows of q as the docstring has them, entry by entry."""
    rows = []
    for i, (person, image) in enumerate(zip(person_ids, image_ids, strict=True)):
        weights = [
            1.0 if i == j else same_image if image == y else same_person if person == b else 0.0
            for j, (b, y) in enumerate(zip(person_ids, image_ids, strict=True))
        ]
        rows.append([weight / sum(weights) for weight in weights])
    return rows


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.8, 0.3), (0.0, 2.0)])
def test_equals_the_naive_loop(pairs: tuple[torch.Tensor, ...], weights: tuple[float, float], label_smoothing: float):
    images, texts, person_ids = pairs
    image_ids = 10 * person_ids + torch.arange(len(person_ids)) % 2
    targets = weighted_targets(person_ids, image_ids, *weights)
    targets = [[(1 - label_smoothing) * q + label_smoothing / len(row) for q in row] for row in targets]
    expected = naive_itc((images @ texts.T).tolist(), targets, 0.05)
    options = {"same_image_weight": weights[0], "same_person_weight": weights[1], "image_ids": image_ids}
    actual = itc_loss(*pairs, temperature=0.05, label_smoothing=label_smoothing, **options)
    assert actual.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_equal_weights_need_no_image_ids(pairs: tuple[torch.Tensor, ...]):
    images, texts, person_ids = pairs
    targets = weighted_targets(person_ids, person_ids, 0.4, 0.4)
    expected = naive_itc((images @ texts.T).tolist(), targets, 0.07)
    actual = itc_loss(*pairs, same_image_weight=0.4, same_person_weight=0.4)
    assert actual.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_own_similarities_as_soft_labels_only_scale_the_gradient(pairs: tuple[torch.Tensor, ...]):
    """Why TBPS-CLIP's further soft label is no option: a share `a` of it in q shrinks the gradient by 1 - a."""
    images, texts, person_ids = pairs
    ours = images.clone().requires_grad_()
    itc_loss(ours, texts, person_ids, **SAME_PERSON).backward()
    theirs = images.clone().requires_grad_()
    logits = theirs @ texts.T / 0.07
    hard = (person_ids[:, None] == person_ids).double()
    hard /= hard.sum(dim=1, keepdim=True)
    for rows in (logits, logits.T):
        targets = 0.4 * rows.detach().softmax(dim=1) + 0.6 * hard
        (-(targets * rows.log_softmax(dim=1)).sum(dim=1).mean() / 2).backward(retain_graph=True)
    torch.testing.assert_close(theirs.grad, 0.6 * ours.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", [{}, SAME_PERSON], ids=["hard", "soft"])
@pytest.mark.parametrize("count", [1, 4, 9])
def test_identical_embeddings_cost_log_n(count: int, options: dict):
    embeds = torch.ones(count, 4, dtype=torch.float64) / 2
    loss = itc_loss(embeds, embeds, torch.arange(count) // 2, **options)
    assert loss.item() == pytest.approx(math.log(count), abs=1e-12)


def test_perfect_pairs_cost_nothing_at_a_low_temperature():
    assert itc_loss(torch.eye(4), torch.eye(4), temperature=0.01).item() == pytest.approx(0, abs=1e-6)


def test_distinct_persons_make_soft_targets_hard(pairs: tuple[torch.Tensor, ...]):
    images, texts, _ = pairs
    distinct = torch.arange(len(images)) + 100
    soft = itc_loss(images, texts, distinct, **SAME_PERSON)
    assert soft.item() == pytest.approx(itc_loss(images, texts).item(), rel=1e-12, abs=1e-12)


def test_swapping_images_and_captions_changes_nothing(pairs: tuple[torch.Tensor, ...]):
    images, texts, person_ids = pairs
    for options in ({}, SAME_PERSON):
        swapped = itc_loss(texts, images, person_ids, **options)
        assert swapped.item() == pytest.approx(itc_loss(*pairs, **options).item(), rel=1e-12, abs=1e-12)


def test_the_order_of_pairs_changes_nothing(pairs: tuple[torch.Tensor, ...]):
    order = torch.randperm(len(pairs[2]), generator=torch.Generator().manual_seed(5))
    for options in ({}, SAME_PERSON):
        shuffled = itc_loss(*(tensor[order] for tensor in pairs), **options)
        assert shuffled.item() == pytest.approx(itc_loss(*pairs, **options).item(), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("options", [{}, SAME_PERSON], ids=["hard", "soft"])
def test_gradients_are_right_for_embeddings_and_a_learned_temperature(pairs: tuple[torch.Tensor, ...], options: dict):
    images, texts, person_ids = pairs
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    inputs = (images.clone().requires_grad_(), texts.clone().requires_grad_(), temperature)
    assert torch.autograd.gradcheck(
        lambda a, b, t: itc_loss(a, b, person_ids, temperature=t, **options, label_smoothing=0.1),
        inputs,
    )


@pytest.mark.parametrize("temperature", [1e-6, 0.02, 100])
@pytest.mark.parametrize("options", [{}, SAME_PERSON], ids=["hard", "soft"])
def test_extremes_stay_finite(extreme_pairs: tuple[torch.Tensor, ...], temperature: float, options: dict):
    images, texts, person_ids = extreme_pairs
    loss = itc_loss(images, texts, person_ids, temperature=temperature, **options)
    loss.backward()
    assert loss.isfinite() and images.grad.isfinite().all() and texts.grad.isfinite().all()


@pytest.mark.parametrize("options", [{}, SAME_PERSON], ids=["hard", "soft"])
def test_bfloat16_embeddings_give_a_float32_loss(pairs: tuple[torch.Tensor, ...], options: dict):
    images, texts, person_ids = (tensor.bfloat16() if tensor.is_floating_point() else tensor for tensor in pairs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = itc_loss(images, texts, person_ids, **options)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, itc_loss(images.float(), texts.float(), person_ids, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SAME_PERSON, "person_ids is None"),
        ({"same_image_weight": -1}, "same_image_weight is -1"),
        ({"same_person_weight": float("nan")}, "same_person_weight is nan"),
        ({"label_smoothing": 1}, "label_smoothing is 1"),
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1"),
        ({"temperature": 0}, "temperature is 0"),
    ],
)
def test_bad_options_are_refused(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        itc_loss(torch.ones(2, 3), torch.ones(2, 3), **options)


def test_unequal_weights_need_image_ids():
    with pytest.raises(ValueError, match="different weights need image_ids"):
        itc_loss(torch.ones(2, 3), torch.ones(2, 3), torch.arange(2), same_image_weight=1.0)
