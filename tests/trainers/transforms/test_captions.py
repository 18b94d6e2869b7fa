import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, CLIPTokenizer

from modeling_prompt_clip.loading import resolve_model_path
from trainers.transforms.captions import TextAugmentation, mask_token_id

CAPTION = "a woman in a red overcoat, carrying an umbrella"


@pytest.fixture(scope="module")
def tokenizer(tiny_clip_folder):
    return CLIPTokenizer.from_pretrained(tiny_clip_folder)


def words(tokenizer, token_ids):
    """The words that the tokens between start and end spell."""
    spelt = "".join(tokenizer.convert_ids_to_tokens(list(token_ids)[1:-1]))
    return spelt.removesuffix("</w>").split("</w>") if spelt else []


@settings(deadline=None, max_examples=80)
@given(
    text=st.lists(st.sampled_from(["a", "man", "in", "red", "coat", ",", "overcoat"]), max_size=9).map(" ".join),
    deletion=st.sampled_from([0.0, 0.2, 0.7, 1.0]),
    row=st.integers(0, 40),
)
def test_deletion_leaves_some_of_the_words_whole_and_in_order(tokenizer, text, deletion, row):
    token_ids = tokenizer(text)["input_ids"]
    before = list(token_ids)
    augmented = TextAugmentation({"deletion": deletion}, tokenizer)(token_ids, 3, 1, row)
    assert token_ids == before
    assert (augmented[0], augmented[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    kept, all_words = words(tokenizer, augmented), words(tokenizer, token_ids)
    rest = iter(all_words)
    assert all(word in rest for word in kept)  # a subsequence
    assert len(kept) >= min(1, len(all_words))
    if deletion == 0:
        assert augmented == token_ids
    if deletion == 1 and all_words:
        assert len(kept) == 1


def test_each_word_goes_as_often_as_it_was_asked_for(tokenizer):
    token_ids = tokenizer(CAPTION)["input_ids"]
    augment = TextAugmentation({"deletion": 0.3}, tokenizer)
    kept = Counter(word for row in range(2000) for word in words(tokenizer, augment(token_ids, 0, 0, row)))
    for word, times in Counter(words(tokenizer, token_ids)).items():
        assert kept[word] / (2000 * times) == pytest.approx(0.7, abs=0.04), word  # 4 standard errors


def test_each_token_is_masked_as_often_as_it_was_asked_for(tokenizer):
    token_ids = tokenizer(CAPTION)["input_ids"]
    mask_id = mask_token_id(tokenizer)
    augment = TextAugmentation({"mask": 0.25}, tokenizer)
    masked = Counter()
    for row in range(2000):
        augmented = augment(token_ids, 0, 0, row)
        assert len(augmented) == len(token_ids)
        assert all(new in (old, mask_id) for old, new in zip(token_ids, augmented, strict=True))
        masked.update(place for place, token in enumerate(augmented) if token == mask_id != token_ids[place])
    assert set(masked) == {place for place, token in enumerate(token_ids) if place and token != mask_id} - {
        len(token_ids) - 1
    }
    assert all(times / 2000 == pytest.approx(0.25, abs=0.04) for times in masked.values())


def test_draws_hang_on_seed_epoch_and_row_alone(tokenizer):
    token_ids = tokenizer(CAPTION)["input_ids"]
    both = TextAugmentation({"deletion": 0.3, "mask": 0.3}, tokenizer)
    first = both(token_ids, 1, 2, 3)
    both(token_ids, 9, 9, 9)
    assert both(token_ids, 1, 2, 3) == first
    for other in ((0, 2, 3), (1, 0, 3), (1, 2, 0)):
        assert both(token_ids, *other) != first


def test_one_augmentation_neither_changes_nor_follows_the_other(tokenizer):
    words = list(range(256, 306))  # single letters with the sign of a word's end
    token_ids = [tokenizer.bos_token_id, *words, tokenizer.eos_token_id]
    chances = ({"deletion": 0.5}, {"mask": 0.5}, {"deletion": 0.5, "mask": 0.5})
    agreements = 0
    for row in range(20):
        kept, masked, both = (TextAugmentation(chance, tokenizer)(token_ids, 0, 0, row) for chance in chances)
        expected = [masked[place] for place, token in enumerate(token_ids) if token in kept]
        assert both == expected
        agreements += sum((token in kept) == (token in masked) for token in words)
    assert agreements == pytest.approx(500, abs=64)  # of 1000; 4 standard errors


def test_off_is_off(tokenizer):
    token_ids = tokenizer(CAPTION)["input_ids"]
    assert TextAugmentation({}, tokenizer)(token_ids, 0, 0, 0) == token_ids
    assert TextAugmentation({"deletion": 0.0, "mask": 0.0}, tokenizer)(token_ids, 0, 0, 0) == token_ids


def test_a_caption_that_was_cut_within_a_word_keeps_its_ends(tokenizer):
    token_ids = tokenizer("overcoat " * 40, truncation=True)["input_ids"]
    assert not tokenizer.convert_ids_to_tokens(token_ids[-2]).endswith("</w>")
    augment = TextAugmentation({"deletion": 0.9}, tokenizer)
    assert all(augment(token_ids, 0, 0, row)[-1] == tokenizer.eos_token_id for row in range(20))


def test_the_mask_token_is_the_last_merge(tokenizer):
    assert tokenizer.convert_ids_to_tokens(mask_token_id(tokenizer)) == "in</w>"
    stand_in = AutoTokenizer.from_pretrained(resolve_model_path("stand-in"))
    assert mask_token_id(stand_in) == stand_in.bos_token_id - 1


def test_a_tokenizer_of_another_kind_has_no_mask_token(tiny_clip_folder, tmp_path):
    vocabulary = json.loads((tiny_clip_folder / "vocab.json").read_text())
    assert [vocabulary[token] for token in ("red</w>", "in</w>", "<|startoftext|>")] == [516, 517, 518]
    vocabulary |= {"red</w>": 518, "<|startoftext|>": 516}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    for name in ("merges.txt", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_clip_folder / name).read_bytes())
    other = CLIPTokenizer.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has it at 517, and those at 516 and 519.*train without masking"):
        TextAugmentation({"mask": 0.1}, other)
    TextAugmentation({"deletion": 0.1}, other)


def test_deletion_needs_to_know_where_words_end(tokenizer):
    class WordPieces:
        def __len__(self):
            return 2

        def convert_ids_to_tokens(self, ids):
            return ["red", "##der"]

    with pytest.raises(ValueError, match="tokens that end with '</w>'"):
        TextAugmentation({"deletion": 0.1}, WordPieces())
