import pytest
import torch

from trainers.objectives.citc import citc_loss


def naive_citc(images: torch.Tensor, texts: torch.Tensor, in_modal: float, cross_modal: float):
    """The papers' code, entry by entry and with their scale, which must cancel."""
    count, scale, total = len(images), 1 / 0.07, 0.0
    for i in range(count):
        for j in range(count):
            images_apart = scale * float(images[i] @ images[j])
            texts_apart = scale * float(texts[i] @ texts[j])
            there, back = scale * float(images[i] @ texts[j]), scale * float(images[j] @ texts[i])
            total += in_modal * (images_apart - texts_apart) ** 2 + cross_modal * (there - back) ** 2
    return total / count**2 / scale**2


@pytest.mark.parametrize(("in_modal", "cross_modal"), [(0.25, 0.25), (1.0, 0.0), (0.0, 0.5)])
def test_equals_the_naive_loop(pairs: tuple[torch.Tensor, ...], in_modal: float, cross_modal: float):
    images, texts, person_ids = pairs
    actual = citc_loss(images, texts, person_ids, in_modal_weight=in_modal, cross_modal_weight=cross_modal)
    expected = naive_citc(images, texts, in_modal, cross_modal)
    assert actual.item() == pytest.approx(expected, rel=1e-10, abs=1e-14)


def test_the_defaults_are_those_of_tbps_clip(pairs: tuple[torch.Tensor, ...]):
    images, texts, _ = pairs
    assert citc_loss(images, texts).item() == pytest.approx(naive_citc(images, texts, 0.25, 0.25), rel=1e-10)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_orthonormal_images_of_one_caption_give_the_closed_form(count: int):
    # v_i . v_j is the identity and t_i . t_j all ones: N^2 - N entries differ by 1. v_i . t_j is 1 in row 0 only, so
    # that it differs from its transpose by 1 in the rest of row 0 and of column 0.
    images = torch.eye(count, dtype=torch.float64)
    texts = images[:1].expand(count, count)
    expected = 0.25 * (count**2 - count) / count**2 + 0.25 * 2 * (count - 1) / count**2
    assert citc_loss(images, texts).item() == pytest.approx(expected, abs=1e-12)


def test_captions_equal_or_opposite_to_their_images_cost_nothing(pairs: tuple[torch.Tensor, ...]):
    images, *_ = pairs
    assert citc_loss(images, images).item() == pytest.approx(0, abs=1e-14)
    assert citc_loss(images, -images).item() == pytest.approx(0, abs=1e-14)


def test_turning_both_towers_alike_changes_nothing(pairs: tuple[torch.Tensor, ...]):
    images, texts, _ = pairs
    turn = torch.linalg.qr(torch.randn(images.shape[1], images.shape[1], dtype=torch.float64))[0]
    assert citc_loss(images @ turn, texts @ turn).item() == pytest.approx(citc_loss(images, texts).item(), rel=1e-9)


def test_swapping_and_the_order_of_pairs_change_nothing(pairs: tuple[torch.Tensor, ...]):
    images, texts, _ = pairs
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(5))
    loss = citc_loss(images, texts).item()
    assert citc_loss(texts, images).item() == pytest.approx(loss, rel=1e-12)
    assert citc_loss(images[order], texts[order]).item() == pytest.approx(loss, rel=1e-12)


def test_gradients_are_right(pairs: tuple[torch.Tensor, ...]):
    images, texts, _ = pairs
    assert torch.autograd.gradcheck(citc_loss, (images.clone().requires_grad_(), texts.clone().requires_grad_()))


def test_extremes_stay_finite(extreme_pairs: tuple[torch.Tensor, ...]):
    images, texts, person_ids = extreme_pairs
    loss = citc_loss(images, texts, person_ids)
    loss.backward()
    assert loss.isfinite() and images.grad.isfinite().all() and texts.grad.isfinite().all()


def test_bfloat16_embeddings_give_a_float32_loss(pairs: tuple[torch.Tensor, ...]):
    images, texts = (tensor.bfloat16() for tensor in pairs[:2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = citc_loss(images, texts)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, citc_loss(images.float(), texts.float()))


@pytest.mark.parametrize("name", ["in_modal_weight", "cross_modal_weight"])
def test_a_negative_weight_is_refused(name: str):
    with pytest.raises(ValueError, match=f"{name} is -1"):
        citc_loss(torch.ones(2, 3), torch.ones(2, 3), **{name: -1})
