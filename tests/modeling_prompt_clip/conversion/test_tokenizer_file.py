"""OpenAI's file of merges as a tokenizer, against byte-pair encoding written out."""

import gzip
import re

import pytest

from modeling_prompt_clip import PromptCLIPProcessor
from modeling_prompt_clip.conversion.tokenizer_file import MERGES, clip_tokenizer_from_merges

HEADER = '"bpe_simple_vocab_16e6.txt#version: 0.2\n'
PAIRS = ["i n", "t h", "a n</w>", "r e", "th e</w>", "re d</w>", "m an</w>", "in g</w>", "' s</w>", "Ã ©</w>"]
CAPTIONS = ["The man's red thing", "a MAN in   THE café, 12 re-red!", "thin\tan", "日本 men don't", ""]


def write(path, pairs=PAIRS, header=HEADER, packed=True):
    content = (header + "\n".join(pairs) + "\n").encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def naive(caption):
    """The ids that OpenAI's algorithm gives: bytes as letters, then the merge of the lowest rank again and again."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + place) for place, byte in enumerate(rest)}
    alphabet = [letters[byte] for byte in (*printable, *rest)]
    vocabulary = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *("".join(pair.split()) for pair in PAIRS)]
    ranks = {tuple(pair.split()): rank for rank, pair in enumerate(PAIRS)}
    ids = [len(vocabulary)]
    for word in re.findall(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+", caption.lower()):
        symbols = [letters[byte] for byte in word.encode()]
        symbols[-1] += "</w>"
        while pairs := [pair for pair in zip(symbols, symbols[1:], strict=False) if pair in ranks]:
            best, merged, place = min(pairs, key=ranks.get), [], 0
            while place < len(symbols):
                here = tuple(symbols[place : place + 2]) == best
                merged.append("".join(best) if here else symbols[place])
                place += 2 if here else 1
            symbols = merged
        ids += [vocabulary.index(symbol) for symbol in symbols]
    return [*ids, len(vocabulary) + 1]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("caption", CAPTIONS)
def test_ids_are_those_of_openais_algorithm(tmp_path, packed, caption):
    tokenizer = clip_tokenizer_from_merges(write(tmp_path / "bpe.txt.gz", packed=packed))
    assert tokenizer(caption).input_ids == naive(caption)
    assert len(tokenizer) == 512 + len(PAIRS) + 2


def test_only_as_many_merges_as_openai_takes(tmp_path):
    letters = [chr(code) for code in range(33, 127)]
    pairs = [f"{first} {second}" for first in letters for second in letters]
    pairs += [f"{first}{second} {third}" for first in letters[:6] for second in letters for third in letters]
    tokenizer = clip_tokenizer_from_merges(write(tmp_path / "bpe.txt.gz", pairs))
    assert len(pairs) > MERGES and len(tokenizer) == 49408
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (49406, 49407, 49407)


def test_conversion_needs_no_network(make_source, convert, tmp_path):
    file = write(tmp_path / "bpe_simple_vocab_16e6.txt.gz")
    source = type(make_source())(512 + len(PAIRS) + 2)
    converted, folder = convert(source.state("irra"), tokenizer=file)
    processor = PromptCLIPProcessor.from_pretrained(folder)
    assert processor(text=[CAPTIONS[0]])["input_ids"][0].tolist() == naive(CAPTIONS[0])
    assert processor.tokenizer.model_max_length == 20 and converted.tokenizer == str(file)


def test_the_tokenizer_of_another_model_is_refused(source, convert, tmp_path):
    with pytest.raises(ValueError, match="tokens, its text tower takes 60000"):
        convert(type(source)(60_000).state(), tokenizer=write(tmp_path / "bpe.gz", ["a b"]))


def test_without_a_network_the_message_says_what_to_give(source, convert):
    with pytest.raises(OSError, match=r"without a network, give by --tokenizer.*bpe_simple_vocab_16e6\.txt\.gz"):
        convert(source.state(), tokenizer="openai/clip-vit-base-patch16")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (gzip.compress(HEADER.encode(), mtime=0)[:-9], OSError, "is damaged"),
        (b"\x1f\x8bnonsense", OSError, "is damaged"),
        (b"\xff\xfe\x00", OSError, "is damaged"),
        (b"", ValueError, "begins with ''"),
        (b"<!doctype html>", ValueError, "begins with '<!doctype html>'"),
        (b"version https://git-lfs.github.com/spec/v1", ValueError, "give bpe_simple_vocab_16e6.txt.gz"),
        (HEADER.encode() + b"a b c\n", ValueError, "line 2: 'a b c' is not a pair of symbols"),
        (HEADER.encode() + b"a b\nab xx\n", ValueError, "line 3: 'ab xx' is not a pair of symbols"),
        (HEADER.encode() + b"a b\n\na c\n", ValueError, "line 3: '' is not a pair of symbols"),
    ],
)
def test_files_that_are_no_merges(tmp_path, content, error, message):
    (tmp_path / "bpe.txt.gz").write_bytes(content)
    with pytest.raises(error, match=message):
        clip_tokenizer_from_merges(tmp_path / "bpe.txt.gz")
