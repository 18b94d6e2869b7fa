"""Captions longer than the text context: exact counts, or a lower bound."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from dataset_scripts.annotations.captions import clean_caption

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["CONTEXT", "CaptionLengths", "LongCaption", "least_tokens"]

CONTEXT = 77
"""Tokens that CLIP's text tower reads, the two that mark start and end among them."""

_MARKS = 2
_BATCH = 1024
_LETTERS = bytes(range(ord("A"), ord("Z") + 1)) + bytes(range(ord("a"), ord("z") + 1))
# CLIP's own rule for where one word of its vocabulary cannot reach across, in the classes that `re` knows.
_PIECES = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|(?:[^\s\w]|_)+", re.IGNORECASE)


class LongCaption(NamedTuple):
    """A caption that will be truncated: row, least token count, text."""

    row: int
    tokens: int
    text: str


class CaptionLengths:
    """Count tokens of cleaned captions, start and end mark included.

    Args:
        tokenizer: counts exactly; None counts pieces that CLIP's tokenizer never joins (words, digits, runs of
            punctuation): a lower bound.

    Attributes:
        context: tokens that are read; the rest is cut off.
        exact: whether counts are exact.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase | None" = None) -> None:
        self._tokenizer = tokenizer
        self.exact = tokenizer is not None
        # A tokenizer that knows no limit says so by an absurd number.
        known = tokenizer is not None and tokenizer.model_max_length < 1 << 20
        self.context = tokenizer.model_max_length if known else CONTEXT
        self._waiting: list[tuple[int, str]] = []

    def add(self, row: int, captions: Sequence[str]) -> list[LongCaption]:
        """Add the captions of a row; return those found too long so far."""
        if self._tokenizer is None:
            return [long for caption in captions if (long := self._at_least(row, caption))]
        self._waiting += [(row, caption) for caption in captions]
        return self.finish() if len(self._waiting) >= _BATCH else []

    def finish(self) -> list[LongCaption]:
        """Return the remaining captions that are too long; call at the end."""
        if not self._waiting:
            return []
        texts = [clean_caption(caption) for _, caption in self._waiting]
        lengths = map(len, self._tokenizer(texts)["input_ids"])
        long = [
            LongCaption(row, length, caption)
            for (row, caption), length in zip(self._waiting, lengths, strict=True)
            if length > self.context
        ]
        self._waiting.clear()
        return long

    def _at_least(self, row: int, caption: str) -> LongCaption | None:
        # Most captions need no counting, and cleaning hardly ever adds a piece.
        if _most_pieces(caption) <= self.context - _MARKS or least_tokens(caption) <= self.context:
            return None
        tokens = least_tokens(clean_caption(caption))
        return LongCaption(row, tokens, caption) if tokens > self.context else None


def _most_pieces(caption: str) -> int:
    """Return an upper bound of the pieces, faster than counting them."""
    rest = caption.encode().translate(None, _LETTERS)
    return 2 * len(rest) + 1 - rest.count(b" ")


def least_tokens(caption: str) -> int:
    """Return a lower bound of CLIP's token count, start and end mark included."""
    return len(_PIECES.findall(caption)) + _MARKS
