import datasets
import pytest
import torch
from transformers import CLIPTokenizer

from trainers.data.streaming import StreamedPairs
from trainers.data.tokenization import tokenized_captions


class CountingTokenizer:
    """Counts the captions that a tokenizer is given."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.backend_tokenizer = tokenizer.backend_tokenizer
        self.model_max_length = tokenizer.model_max_length
        self.captions = 0

    def __call__(self, captions, truncation):
        self.captions += len(captions)
        return self.tokenizer(captions, truncation=truncation, max_length=self.model_max_length)


@pytest.fixture
def tokenizer(tiny_clip_folder):
    return CountingTokenizer(CLIPTokenizer.from_pretrained(tiny_clip_folder))


@pytest.fixture
def on_disk(splits, tmp_path):
    """The training split as a builder would load it: from a table on disk, the same each time."""
    splits["train"].save_to_disk(tmp_path / "set")
    return lambda: datasets.load_from_disk(tmp_path / "set")


def test_every_caption_has_its_tokens_in_its_row(splits, tokenizer):
    train = splits["train"]
    tokens = tokenized_captions(train, tokenizer)
    assert tokens.column_names == ["input_ids"]
    for captions, token_ids in zip(train["captions"], tokens["input_ids"], strict=True):
        assert token_ids == [tokenizer.tokenizer(caption)["input_ids"] for caption in captions]


def test_rows_may_have_none_or_many_captions(splits, tokenizer):
    few = splits["train"].select(range(3)).remove_columns("captions").add_column("captions", [[], ["red"] * 3, ["a"]])
    assert [len(token_ids) for token_ids in tokenized_captions(few, tokenizer)["input_ids"]] == [0, 3, 1]


def test_long_captions_keep_their_end_token(splits, tokenizer):
    one = splits["train"].select([0]).remove_columns("captions").add_column("captions", [["red " * 100]])
    token_ids = tokenized_captions(one, tokenizer)[0]["input_ids"][0]
    assert len(token_ids) == 77
    assert token_ids[-1] == tokenizer.tokenizer.eos_token_id


def test_a_second_run_finds_the_tokens(on_disk, tokenizer, tiny_clip_folder):
    first = tokenized_captions(on_disk(), tokenizer)["input_ids"][:]
    assert tokenizer.captions == 24
    fresh = CountingTokenizer(CLIPTokenizer.from_pretrained(tiny_clip_folder))
    again = tokenized_captions(on_disk(), fresh)
    assert fresh.captions == 0
    assert again["input_ids"][:] == first
    assert tokenized_captions(on_disk(), tokenizer)["input_ids"][:] == first  # it has been called in between
    assert tokenizer.captions == 24


def test_an_edited_caption_is_noticed(on_disk, tokenizer):
    tokenized_captions(on_disk(), tokenizer)
    captions = on_disk()["captions"][:]
    captions[2] = ["a man in pink"]
    edited = on_disk().remove_columns("captions").add_column("captions", captions)
    token_ids = tokenized_captions(edited, tokenizer)[2]["input_ids"]
    assert token_ids == [tokenizer.tokenizer("a man in pink")["input_ids"]]


def test_another_tokenizer_is_noticed(on_disk, tokenizer, tiny_clip_folder, tmp_path):
    tokenized_captions(on_disk(), tokenizer)
    for name in ("vocab.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_clip_folder / name).read_bytes())
    merges = (tiny_clip_folder / "merges.txt").read_text().replace("m a\nma n</w>\n", "")
    (tmp_path / "merges.txt").write_text(merges)
    other = CountingTokenizer(CLIPTokenizer.from_pretrained(tmp_path))
    tokens = tokenized_captions(on_disk(), other)
    assert other.captions == 24
    assert tokens[0]["input_ids"][0] == other.tokenizer(on_disk()[0]["captions"][0])["input_ids"]


def test_another_context_is_noticed(on_disk, tokenizer):
    tokenized_captions(on_disk(), tokenizer)
    tokenizer.model_max_length = 5
    assert max(len(ids) for row in tokenized_captions(on_disk(), tokenizer)["input_ids"] for ids in row) == 5


def test_a_blank_caption_is_refused_with_its_row(on_disk, tokenizer):
    captions = on_disk()["captions"][:]
    captions[7] = ["a man", " \n "]
    blank = on_disk().remove_columns("captions").add_column("captions", captions)
    for _ in range(2):
        with pytest.raises(ValueError, match="training row 7 has a blank caption"):
            tokenized_captions(blank, tokenizer)


def test_captions_are_cleaned_as_the_processor_cleans_them(splits, tokenizer):
    """Those of a set that was made elsewhere have not been."""
    tokenizer = tokenizer.tokenizer
    typed = splits["train"].select([0]).map(lambda row: {"captions": ["the man\u2019s  hat ,black &amp; white"]})
    for clean, meant in ((True, "the man's hat, black & white"), (False, typed[0]["captions"][0])):
        token_ids = tokenized_captions(typed, tokenizer, clean)[0]["input_ids"][0]
        assert token_ids == tokenizer(meant)["input_ids"]
    stream = StreamedPairs(typed.to_iterable_dataset(), tokenizer, lambda *_: torch.zeros(1), 3, 100)
    pair = stream[next(stream.shuffled())]
    assert pair["input_ids"] == tokenizer("the man's hat, black & white")["input_ids"]
