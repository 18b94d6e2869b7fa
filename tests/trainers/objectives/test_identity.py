import math

import pytest
import torch

from trainers.objectives.identity import IdentityHead, id_loss


def logits_and_labels(count: int = 7, identities: int = 5):
    generator = torch.Generator().manual_seed(0)
    image_logits, text_logits = torch.randn(2, count, identities, generator=generator, dtype=torch.float64)
    return image_logits, text_logits, torch.randint(0, identities, (count,), generator=generator)


def naive_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, smoothing: float):
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        for k, value in enumerate(row):
            target = (1 - smoothing) * (k == label) + smoothing / len(row)
            total -= target * (value - log_sum) / len(labels)
    return total


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_equals_the_naive_loop(smoothing: float):
    image_logits, text_logits, labels = logits_and_labels()
    expected = sum(naive_cross_entropy(logits, labels, smoothing) for logits in (image_logits, text_logits)) / 2
    actual = id_loss(image_logits, text_logits, labels, label_smoothing=smoothing)
    assert actual.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("identities", [1, 3, 100])
def test_equal_logits_cost_log_k(identities: int):
    logits = torch.full((4, identities), 0.7, dtype=torch.float64)
    assert id_loss(logits, logits, torch.zeros(4).long()).item() == pytest.approx(math.log(identities), abs=1e-12)


def test_symmetric_and_independent_of_the_order_of_pairs():
    image_logits, text_logits, labels = logits_and_labels()
    loss, order = id_loss(image_logits, text_logits, labels), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    assert id_loss(text_logits, image_logits, labels).item() == pytest.approx(loss.item(), rel=1e-12)
    shuffled = id_loss(image_logits[order], text_logits[order], labels[order])
    assert shuffled.item() == pytest.approx(loss.item(), rel=1e-12)


def test_gradients_are_right():
    image_logits, text_logits, labels = logits_and_labels(3, 4)
    inputs = (image_logits.requires_grad_(), text_logits.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: id_loss(a, b, labels, label_smoothing=0.1), inputs)


def test_huge_logits_stay_finite():
    logits = torch.tensor([[1e30, -1e30], [-1e30, 1e30]], requires_grad=True)
    loss = id_loss(logits, logits, torch.tensor([0, 0]))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


def test_bfloat16_logits_give_a_float32_loss():
    image_logits, text_logits, labels = logits_and_labels()
    loss = id_loss(image_logits.bfloat16(), text_logits.bfloat16(), labels.int())
    assert loss.dtype == torch.float32
    assert torch.equal(loss, id_loss(image_logits.bfloat16().float(), text_logits.bfloat16().float(), labels))


def test_head_starts_small_and_unbiased():
    torch.manual_seed(0)
    head = IdentityHead(64, 500)
    assert head.classifier.weight.std().item() == pytest.approx(0.001, rel=0.02)
    assert not head.classifier.bias.any()


def test_head_multiplies_unit_embeddings_by_the_root_of_their_width():
    head = IdentityHead(16, 3)
    embeds = torch.eye(16)[:2]
    expected = 4 * embeds @ head.classifier.weight.T
    torch.testing.assert_close(head(embeds), expected)
    assert head(embeds.double()).dtype == torch.float64


def test_head_computes_in_float32_under_autocast_and_with_half_weights():
    head = IdentityHead(16, 3)
    embeds = torch.nn.functional.normalize(torch.randn(5, 16), dim=1)
    expected = head(embeds)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(embeds), expected)
    assert head.bfloat16()(embeds.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(("sizes", "name"), [((0, 3), "embedding_dim is 0"), ((3, -1), "num_identities is -1")])
def test_head_refuses_sizes_below_one(sizes: tuple[int, int], name: str):
    with pytest.raises(ValueError, match=name):
        IdentityHead(*sizes)


@pytest.mark.parametrize(
    ("image_shape", "text_shape", "labels", "error", "message"),
    [
        ((2, 3), (2, 4), torch.zeros(2).long(), ValueError, "image_logits has shape"),
        ((2,), (2,), torch.zeros(2).long(), ValueError, "image_logits has shape"),
        ((2, 3), (2, 3), torch.zeros(3).long(), ValueError, "labels has shape"),
        ((2, 3), (2, 3), torch.zeros(2), TypeError, "labels has dtype"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    image_shape: tuple[int, ...],
    text_shape: tuple[int, ...],
    labels: torch.Tensor,
    error: type[Exception],
    message: str,
):
    with pytest.raises(error, match=message):
        id_loss(torch.zeros(image_shape), torch.zeros(text_shape), labels)


def test_label_smoothing_out_of_range_is_refused():
    with pytest.raises(ValueError, match="label_smoothing is 1.5"):
        id_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2).long(), label_smoothing=1.5)
