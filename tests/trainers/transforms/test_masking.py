from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from trainers.transforms.masking import CaptionMasking, mask_tokens

OPTIONS = {"mask_id": 97, "random_low": 10, "random_high": 90}
CAPTION = [98, 5, 6, 7, 8, 99]


@pytest.fixture(scope="module")
def tokenizer(tiny_clip_folder: Path):
    return CLIPTokenizer.from_pretrained(tiny_clip_folder)


def test_draws_decide_what_becomes_of_each_word():
    chosen = [0.0, 0.1, 0.14, 0.0, 0.15, 0.0]
    fate = [0.0, 0.79, 0.8, 0.95, 0.0, 0.0]
    word = [0.0, 0.0, 0.5, 0.0, 0.0, 0.0]
    masked = mask_tokens(CAPTION, np.array([chosen, fate, word]), **OPTIONS)
    # start and end stay though they were drawn; the fourth is to be guessed though it stays; the fifth was not chosen
    assert masked.input_ids.tolist() == [98, 97, 50, 7, 8, 99]
    assert masked.positions.tolist() == [1, 2, 3]
    assert masked.labels.tolist() == [5, 6, 7]


def naive_masking(token_ids: list[int], draws: list[list[float]], probability: float):
    """BERT's rule, token by token."""
    ids, positions, labels = list(token_ids), [], []
    for position in range(1, len(ids) - 1):
        chosen, fate, word = (row[position] for row in draws)
        if chosen < probability:
            positions.append(position)
            labels.append(ids[position])
            if fate < 0.8:
                ids[position] = 97
            elif fate < 0.9:
                ids[position] = 10 + int(80 * word)
    return ids, positions, labels


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(10, 89), max_size=12), st.integers(0, 2**32), st.floats(0, 1))
def test_equals_the_naive_loop_and_leaves_the_caption_alone(words: list[int], seed: int, probability: float):
    caption = np.array([98, *words, 99])
    draws = np.random.default_rng(seed).random((3, len(caption)))
    masked = mask_tokens(caption, draws, probability=probability, **OPTIONS)
    expected = naive_masking(caption.tolist(), draws.tolist(), probability)
    assert tuple(array.tolist() for array in masked) == expected
    assert caption.tolist() == [98, *words, 99]
    assert not np.shares_memory(masked.input_ids, caption)


def test_shares_are_those_of_bert():
    caption = np.full(100_002, 5)
    masked = mask_tokens(caption, np.random.default_rng(0).random((3, len(caption))), **OPTIONS)
    seen = masked.input_ids[masked.positions]
    assert len(seen) / 100_000 == pytest.approx(0.15, abs=0.005)
    assert (seen == 97).mean() == pytest.approx(0.8, abs=0.02)
    assert (seen == 5).mean() == pytest.approx(0.1, abs=0.02)
    others = seen[(seen != 97) & (seen != 5)]
    assert (others.min(), others.max()) == (10, 89)


@pytest.mark.parametrize(
    ("token_ids", "shape", "options", "error", "message"),
    [
        ([98], (3, 1), {}, ValueError, r"token_ids has shape \(1,\)"),
        ([CAPTION], (3, 6), {}, ValueError, r"token_ids has shape \(1, 6\)"),
        (CAPTION, (2, 6), {}, ValueError, r"draws has shape \(2, 6\)"),
        (CAPTION, (3, 6), {"probability": 1.5}, ValueError, "probability is 1.5"),
        (CAPTION, (3, 6), {"random_high": 10}, ValueError, "random_high is 10"),
        (CAPTION, (3, 6), {"random_low": 0.5}, TypeError, "random_low is 0.5"),
    ],
)
def test_bad_arguments_are_refused(
    token_ids: list, shape: tuple[int, int], options: dict, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        mask_tokens(token_ids, np.zeros(shape), **{**OPTIONS, **options})


def test_masking_hangs_on_seed_epoch_and_row_alone(tokenizer: CLIPTokenizer):
    caption = tokenizer("the woman walks in a long blue coat")["input_ids"]
    masking = CaptionMasking(tokenizer, probability=0.5)
    first = masking(caption, 0, 1, 2)
    again = CaptionMasking(tokenizer, probability=0.5)(caption, 0, 1, 2)
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    for other in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert not np.array_equal(first.input_ids, masking(caption, *other).input_ids)


def test_start_and_end_stay_and_no_random_word_is_special(tokenizer: CLIPTokenizer):
    caption = tokenizer("a man in red")["input_ids"]
    masking = CaptionMasking(tokenizer, probability=1.0)
    for row in range(200):
        masked = masking(caption, 0, 0, row)
        assert masked.input_ids[[0, -1]].tolist() == [tokenizer.bos_token_id, tokenizer.eos_token_id]
        assert masked.input_ids[1:-1].max() <= masking.mask_id < tokenizer.bos_token_id
        assert masked.labels.tolist() == caption[1:-1]


@pytest.mark.parametrize("place", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_negative_places_are_refused(tokenizer: CLIPTokenizer, place: tuple[int, int, int]):
    with pytest.raises(ValueError, match="is -1"):
        CaptionMasking(tokenizer)([1, 2], *place)
