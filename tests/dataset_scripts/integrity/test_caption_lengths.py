"""Tokens of captions: never more than CLIP's tokenizer makes, and exactly those with one."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from dataset_scripts.annotations.captions import clean_caption
from dataset_scripts.integrity.caption_lengths import CONTEXT, CaptionLengths, least_tokens

TEXTS = st.text(st.one_of(st.sampled_from("ab A.,!'’-_ 12½²éß中🙂\t\n"), st.characters(exclude_categories=["Cs"])))


@pytest.fixture(scope="module")
def tokenizer(tiny_clip_folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_clip_folder)


@given(text=TEXTS)
@settings(deadline=None, max_examples=150)
def test_the_bound_is_one(tokenizer: PreTrainedTokenizerBase, text: str):
    assert least_tokens(text) <= len(tokenizer(text)["input_ids"])


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [("", 2), ("a man", 4), ("A man's hat, red.", 9), ("shirt.His", 5), ("1.80 m", 7), ("don't!!", 5), ("a_b", 5)],
)
def test_pieces_are_words_digits_and_runs_of_signs(caption: str, tokens: int):
    assert least_tokens(caption) == tokens


@given(words=st.lists(st.sampled_from(["a", "red", "1", "!", "hat", "é,", "it's"]), min_size=40, max_size=80))
@settings(deadline=None, max_examples=50)
def test_long_is_what_the_plain_count_says(words: list[str]):
    caption = " ".join(words)
    found = CaptionLengths().add(5, ["short", caption])
    tokens = least_tokens(clean_caption(caption))
    assert found == ([(5, tokens, caption)] if tokens > CONTEXT else [])


@pytest.mark.parametrize(("words", "long"), [(75, False), (76, True)])
def test_the_context_holds_75_words_and_the_two_marks(words: int, long: bool):
    lengths = CaptionLengths()
    assert (lengths.context, lengths.exact) == (77, False)
    assert bool(lengths.add(0, ["a " * words])) == long
    assert not lengths.finish()


def test_what_cleaning_shortens_is_not_long():
    dots = "a man . . . . " * 25
    assert least_tokens(dots) > CONTEXT >= least_tokens(clean_caption(dots)) and not CaptionLengths().add(0, [dots])


def test_a_tokenizer_counts_exactly(tokenizer: PreTrainedTokenizerBase):
    lengths = CaptionLengths(tokenizer)
    # One word of 76 letters is one piece, but 76 tokens where the vocabulary has single letters only.
    captions = ["x" * 75, "x" * 76, "man " * 75, "man " * 76]
    found = [long for row in range(600) for long in lengths.add(row, captions[row % 4 : row % 4 + 1] * 3)]
    assert len(found) > 500, "captions are counted in batches on the way"
    found += lengths.finish()
    assert lengths.exact and len(found) == 2 * 150 * 3 and not lengths.finish()
    assert {(long.row % 4, long.tokens) for long in found} == {(1, 78), (3, 78)}
    assert all(re.fullmatch("x{76}|(man ){76}", long.text) for long in found)


def test_a_tokenizer_counts_what_training_sees(tokenizer: PreTrainedTokenizerBase):
    caption = "man " * 74 + ". ."
    assert len(tokenizer(caption)["input_ids"]) == 78
    lengths = CaptionLengths(tokenizer)
    assert not lengths.add(0, [caption]) and not lengths.finish()


def test_a_tokenizer_without_a_limit_is_cut_as_clip_is(tokenizer: PreTrainedTokenizerBase):
    class Boundless:
        model_max_length = int(1e30)

    assert CaptionLengths(Boundless()).context == 77
