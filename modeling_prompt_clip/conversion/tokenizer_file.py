"""CLIP's tokenizer from `bpe_simple_vocab_16e6.txt.gz`, with families' caption rules.

Rules are normalisers of the tokenizer, so tokenizer.json carries them to every reader of the folder.
"""

import gzip
import zlib
from pathlib import Path
from typing import Any

from tokenizers import Regex, decoders, normalizers
from transformers import CLIPTokenizer, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

__all__ = ["CAPTION_RULES", "clip_tokenizer_from_merges", "with_caption_rule"]

CAPTION_RULES = ("clip", "tbps_clip")
MERGES = 49152 - 256 - 2  # as OpenAI's code takes; the file holds more
LARGEST = 64 * 2**20  # bytes; the file has 3 MB when unpacked
GZIP = b"\x1f\x8b"
TBPS_CLIP_PUNCTUATION = r"""[.!"()*#:;~]"""


def clip_tokenizer_from_merges(path: str | Path, context: int = 77) -> CLIPTokenizer:
    """Build OpenAI's byte-level BPE tokenizer from its file of merges.

    Ids are in its order: 256 bytes, 256 bytes that end a word, the merges, `<|startoftext|>`, `<|endoftext|>`.
    Captions are cut at `context` tokens.

    Raises OSError: the file cannot be read or unpacked; ValueError: it is not a header line followed by two symbols a
    line.
    """
    header, *lines = _text(Path(path)).split("\n")
    if not header.startswith(('"bpe_simple_vocab', "#version", "bpe_simple_vocab")):
        raise ValueError(
            f"tokenizer file {path} begins with {header[:40]!r}; give bpe_simple_vocab_16e6.txt.gz, whose first line "
            "names it, or a folder with tokenizer.json or with vocab.json and merges.txt"
        )
    letters = list(bytes_to_unicode().values())
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges, known = [], set(vocabulary)
    for number, line in enumerate(lines[:MERGES], start=2):
        if not line.strip() and number == len(lines) + 1:
            break  # the newline at the end
        pair = tuple(line.split())
        if len(pair) != 2 or not known.issuperset(pair):
            raise ValueError(
                f"tokenizer file {path}, line {number}: {line[:40]!r} is not a pair of symbols that bytes and earlier "
                "lines make; copy bpe_simple_vocab_16e6.txt.gz again"
            )
        merges.append(pair)
        vocabulary.append("".join(pair))
        known.add(vocabulary[-1])
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    ids = {token: index for index, token in enumerate(vocabulary)}
    return CLIPTokenizer(vocab=ids, merges=merges, model_max_length=context)


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            is_packed = file.read(2) == GZIP
        with gzip.open(path, "rb") if is_packed else open(path, "rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"tokenizer file {path} has more than {LARGEST} bytes; give bpe_simple_vocab_16e6.txt.gz")
        return content.decode("utf-8")
    except (EOFError, UnicodeDecodeError, gzip.BadGzipFile, zlib.error) as error:
        raise OSError(f"tokenizer file {path} is damaged ({error}); copy it again") from error


def with_caption_rule(tokenizer: Any, rule: str) -> Any:
    """Make a tokenizer clean captions as a family of checkpoints does.

    `rule` is one of `CAPTION_RULES`: `"tbps_clip"` replaces punctuation that TBPS-CLIP's `pre_caption` drops by
    spaces.

    Raises ValueError: the tokenizer has no backend that could hold the rule.
    """
    if rule == "clip":
        return tokenizer
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ValueError(
            f"tokenizer {type(tokenizer).__name__} cannot clean captions; give one with a tokenizer.json, or "
            "bpe_simple_vocab_16e6.txt.gz"
        )
    backend = tokenizer.backend_tokenizer
    punctuation = normalizers.Replace(Regex(TBPS_CLIP_PUNCTUATION), " ")
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), punctuation, backend.normalizer])
    # transformers' CLIPTokenizer makes its own normaliser again when it loads; this class keeps the file's
    backend.decoder = decoders.Sequence(
        [decoders.ByteLevel(), decoders.Replace("</w>", " "), decoders.Strip(" ", 0, 1)]
    )
    tokens = {name: getattr(tokenizer, name) for name in ("unk_token", "bos_token", "eos_token", "pad_token")}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=tokenizer.model_max_length, padding_side="right", **tokens
    )
