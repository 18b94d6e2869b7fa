import math

import pytest
import torch

from trainers.objectives.tal import tal_loss


def naive_tal(images: torch.Tensor, texts: torch.Tensor, person_ids: torch.Tensor, temperature: float, margin: float):
    """The paper's code, row by row with plain exponentials, as a differentiable mean."""
    total = torch.zeros((), dtype=torch.float64)
    for a, b in ((images, texts), (texts, images)):
        for i in range(len(a)):
            cosines = [a[i] @ b[j] for j in range(len(b))]
            positives = [c for c, pid in zip(cosines, person_ids, strict=True) if pid == person_ids[i]]
            negatives = [c for c, pid in zip(cosines, person_ids, strict=True) if pid != person_ids[i]]
            if not negatives:
                continue
            exps = [(c.detach() / temperature).exp() for c in positives]
            positive = sum(e / sum(exps) * c for e, c in zip(exps, positives, strict=True))
            bound = temperature * sum((c / temperature).exp() for c in negatives).log()
            total = total + (margin - positive + bound).clamp(min=0) / len(a)
    return total


@pytest.mark.parametrize(("temperature", "margin"), [(0.015, 0.1), (0.2, 0.5), (0.05, 0)])
def test_value_and_gradients_equal_the_naive_loop(pairs: tuple[torch.Tensor, ...], temperature: float, margin: float):
    images, texts, person_ids = pairs
    ours = [images.clone().requires_grad_(), texts.clone().requires_grad_()]
    theirs = [images.clone().requires_grad_(), texts.clone().requires_grad_()]
    loss = tal_loss(*ours, person_ids, temperature=temperature, margin=margin)
    expected = naive_tal(*theirs, person_ids, temperature, margin)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10, abs=1e-12)
    if expected.requires_grad:
        loss.backward()
        expected.backward()
        for mine, naive in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine.grad, naive.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [2, 5])
def test_identical_embeddings_give_the_closed_form(count: int):
    embeds = torch.ones(count, 4, dtype=torch.float64) / 2
    expected = 2 * (0.1 + 0.015 * math.log(count - 1))
    assert tal_loss(embeds, embeds, torch.arange(count)).item() == pytest.approx(expected, rel=1e-10)


def test_the_bound_tends_to_the_hardest_negative():
    images, texts = torch.eye(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    texts[0] = torch.tensor([0.6, 0.8, 0.0])
    # Row 0: positive .6, negatives 0, 0; row 1: 1 against .8; row 2: 1 against 0; and column 0: .6 against .8.
    expected = (max(0, 0.3 - 0.6) + max(0, 0.3 - 1 + 0.8) + 0 + max(0, 0.3 - 0.6 + 0.8) + 0 + 0) / 3
    loss = tal_loss(images, texts, torch.arange(3), temperature=1e-5, margin=0.3)
    assert loss.item() == pytest.approx(expected, abs=1e-4)


def test_well_separated_pairs_and_a_batch_of_one_person_cost_nothing():
    assert tal_loss(torch.eye(4), torch.eye(4), torch.arange(4)).item() == 0
    assert tal_loss(torch.eye(4), torch.eye(4), torch.zeros(4).long()).item() == 0


def test_swapping_images_and_captions_changes_nothing(pairs: tuple[torch.Tensor, ...]):
    images, texts, person_ids = pairs
    assert tal_loss(texts, images, person_ids).item() == pytest.approx(tal_loss(*pairs).item(), rel=1e-12)


def test_the_order_of_pairs_changes_nothing(pairs: tuple[torch.Tensor, ...]):
    order = torch.randperm(len(pairs[2]), generator=torch.Generator().manual_seed(5))
    shuffled = tal_loss(*(tensor[order] for tensor in pairs))
    assert shuffled.item() == pytest.approx(tal_loss(*pairs).item(), rel=1e-12)


def test_gradients_are_right_where_nothing_is_held_constant(pairs: tuple[torch.Tensor, ...]):
    # With distinct persons each row has one positive of constant weight 1, so autograd must equal finite differences.
    images, texts, _ = pairs
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    inputs = (images.clone().requires_grad_(), texts.clone().requires_grad_(), temperature)
    distinct = torch.arange(len(images))
    assert torch.autograd.gradcheck(lambda a, b, t: tal_loss(a, b, distinct, temperature=t, margin=2.0), inputs)


@pytest.mark.parametrize("temperature", [1e-6, 0.015, 100])
def test_extremes_stay_finite(extreme_pairs: tuple[torch.Tensor, ...], temperature: float):
    images, texts, person_ids = extreme_pairs
    loss = tal_loss(images, texts, person_ids, temperature=temperature)
    loss.backward()
    assert loss.isfinite() and images.grad.isfinite().all() and texts.grad.isfinite().all()


def test_bfloat16_embeddings_give_a_float32_loss(pairs: tuple[torch.Tensor, ...]):
    images, texts, person_ids = (tensor.bfloat16() if tensor.is_floating_point() else tensor for tensor in pairs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = tal_loss(images, texts, person_ids)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, tal_loss(images.float(), texts.float(), person_ids))


@pytest.mark.parametrize("margin", [-0.1, 2.1, float("nan")])
def test_a_margin_beyond_the_range_of_cosine_differences_is_refused(margin: float):
    with pytest.raises(ValueError, match="margin is"):
        tal_loss(torch.ones(2, 3), torch.ones(2, 3), torch.arange(2), margin=margin)
