import math

import pytest
import torch

from trainers.objectives.mlm import IGNORED, MaskedWordHead, mlm_loss


def logits_and_labels(words: int = 5):
    """Scores of five places in each of three captions, of which some hold no masked word."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, words, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, words, (3, 5), generator=generator)
    labels[0, 1:] = labels[2] = IGNORED
    return logits, labels


def naive_mlm(logits: torch.Tensor, labels: torch.Tensor):
    costs = []
    for row, label in zip(logits.reshape(-1, logits.shape[-1]).tolist(), labels.flatten().tolist(), strict=True):
        if label != IGNORED:
            costs.append(math.log(sum(math.exp(value) for value in row)) - row[label])
    return sum(costs) / len(costs)


def test_loss_equals_the_naive_loop():
    logits, labels = logits_and_labels()
    assert mlm_loss(logits, labels).item() == pytest.approx(naive_mlm(logits, labels), rel=1e-12)


@pytest.mark.parametrize("words", [1, 7, 100])
def test_equal_logits_cost_log_v(words: int):
    logits = torch.full((2, 3, words), 0.3, dtype=torch.float64)
    assert mlm_loss(logits, torch.zeros(2, 3).long()).item() == pytest.approx(math.log(words), abs=1e-12)


def test_shares_of_a_batch_add_up_to_its_mean():
    logits, labels = logits_and_labels()
    count = (labels != IGNORED).sum()
    parts = [mlm_loss(logits[i : i + 1], labels[i : i + 1], count=count) for i in range(3)]
    assert sum(parts).item() == pytest.approx(mlm_loss(logits, labels).item(), rel=1e-12)


def test_gradients_are_right_and_zero_where_there_is_no_label():
    logits, labels = logits_and_labels()
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda scores: mlm_loss(scores, labels), (logits,))
    mlm_loss(logits, labels).backward()
    assert torch.equal(logits.grad.any(dim=-1), labels != IGNORED)


@pytest.mark.parametrize("places", [0, 4])
def test_a_batch_without_masked_words_costs_nothing_and_has_gradients_of_zero(places: int):
    head = MaskedWordHead(8, 11, layers=2)
    tokens = torch.randn(2, 5, 8, requires_grad=True)
    none = torch.zeros(2, places, dtype=torch.int64)
    loss = mlm_loss(head(tokens, tokens, torch.zeros(2, 5).bool(), none), none + IGNORED)
    loss.backward()
    assert loss.item() == 0
    for tensor in (tokens, *head.parameters()):
        assert tensor.grad is not None and not tensor.grad.any()


def test_huge_logits_stay_finite():
    logits = torch.tensor([[1e30, -1e30], [-1e30, 1e30], [0, 0]], requires_grad=True)
    loss = mlm_loss(logits, torch.tensor([0, 0, 1]))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


def test_bfloat16_logits_give_a_float32_loss():
    logits, labels = logits_and_labels()
    loss = mlm_loss(logits.bfloat16(), labels.int())
    assert loss.dtype == torch.float32
    assert torch.equal(loss, mlm_loss(logits.bfloat16().float(), labels))


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (torch.zeros(2, 3).long(), ValueError, r"labels \(2, 3\)"),
        (torch.zeros(2), TypeError, "labels has dtype torch.float32"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: torch.Tensor, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        mlm_loss(torch.zeros(2, 5), labels)


@pytest.fixture
def head_inputs():
    """Three captions of 7 tokens, the last two of one being padding, and images of 4, 64 wide."""
    generator = torch.Generator().manual_seed(3)
    texts, images = torch.randn(3, 7, 64, generator=generator), torch.randn(3, 4, 64, generator=generator)
    padding = torch.zeros(3, 7, dtype=torch.bool)
    padding[1, 5:] = True
    return texts, images, padding, torch.tensor([[1, 3], [2, 0], [5, 6]])


@pytest.fixture
def head():
    torch.manual_seed(0)
    return MaskedWordHead(64, 50, layers=2)


def plain_attention(module: torch.nn.MultiheadAttention, queries: torch.Tensor, keys: torch.Tensor):
    """One head of attention of one caption, written out."""
    (w_q, w_k, w_v), (b_q, b_k, b_v) = module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3)
    q, k, v = queries @ w_q.T + b_q, keys @ w_k.T + b_k, keys @ w_v.T + b_v
    return module.out_proj((q @ k.T / math.sqrt(q.shape[-1])).softmax(dim=-1) @ v)


def test_head_equals_irras_formula_one_caption_and_one_word_at_a_time(head: MaskedWordHead, head_inputs: tuple):
    texts, images, padding, positions = head_inputs
    logits = head(texts, images, padding, positions)
    assert logits.shape == (3, 2, 50)
    for i in range(3):
        caption, image = head.text_norm(texts[i][~padding[i]]), head.image_norm(images[i])
        states = plain_attention(head.cross_attention, caption, image)
        for layer in head.layers:
            inner = layer.norm1(states)
            states = states + plain_attention(layer.self_attn, inner, inner)
            states = states + layer.linear2(torch.nn.functional.gelu(layer.linear1(layer.norm2(states))))
        for place in range(2):
            word = head.norm(states[positions[i, place]])
            expected = head.classifier(head.transform[2](torch.nn.functional.gelu(head.transform[0](word))))
            torch.testing.assert_close(logits[i, place], expected, rtol=1e-4, atol=1e-5)


def test_more_padding_changes_nothing(head: MaskedWordHead, head_inputs: tuple):
    texts, images, padding, positions = head_inputs
    longer = torch.cat([texts, torch.randn(3, 4, 64)], dim=1)
    longer_padding = torch.cat([padding, torch.ones(3, 4, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(
        head(longer, images, longer_padding, positions), head(texts, images, padding, positions)
    )


def test_head_reads_the_image(head: MaskedWordHead, head_inputs: tuple):
    texts, images, padding, positions = head_inputs
    difference = head(texts, images.flip(0), padding, positions) - head(texts, images, padding, positions)
    assert difference[0].abs().max() > 1e-3 > difference[1].abs().max()


@pytest.mark.parametrize("factor", [0.0, 1e-20, 1e15])
def test_extreme_features_have_finite_gradients(head: MaskedWordHead, head_inputs: tuple, factor: float):
    texts, images, padding, positions = head_inputs
    texts, images = (factor * texts).requires_grad_(), (factor * images).requires_grad_()
    loss = mlm_loss(head(texts, images, padding, positions), positions)
    loss.backward()
    assert loss.isfinite() and texts.grad.isfinite().all() and images.grad.isfinite().all()


def test_layers_start_from_different_weights(head: MaskedWordHead):
    assert not torch.equal(head.layers[0].linear1.weight, head.layers[1].linear1.weight)


def test_half_precision_features_and_autocast_are_taken(head: MaskedWordHead, head_inputs: tuple):
    texts, images, padding, positions = head_inputs
    expected = head(texts, images, padding, positions)
    plain = head(texts.bfloat16(), images.bfloat16(), padding, positions)
    assert plain.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lowered = head(texts.bfloat16(), images.bfloat16(), padding, positions)
    assert lowered.dtype == torch.bfloat16
    for actual in (plain, lowered):
        torch.testing.assert_close(actual.float(), expected, rtol=0, atol=0.05)


@pytest.mark.parametrize("width", [6, 64, 100, 130, 512])
def test_heads_divide_any_width(width: int):
    head = MaskedWordHead(width, 3, layers=0)
    assert head.cross_attention.num_heads == {6: 1, 64: 1, 100: 1, 130: 2, 512: 8}[width]


@pytest.mark.parametrize(
    ("sizes", "layers", "message"),
    [((0, 3), 1, "embedding_dim is 0"), ((3, 0), 1, "vocab_size is 0"), ((3, 3), -1, "layers is -1")],
)
def test_sizes_out_of_range_are_refused(sizes: tuple[int, int], layers: int, message: str):
    with pytest.raises(ValueError, match=message):
        MaskedWordHead(*sizes, layers=layers)
