"""Masking of captions for masked-language modelling (BERT, arXiv 1810.04805, section 3.1)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dataset_scripts.common.numbers import check_integer, check_number
from trainers.transforms.captions import caption_random, mask_token_id

_STREAM = 100  # of random numbers; the augmentations of captions take the small ones


class MaskedCaption(NamedTuple):
    """A caption with masked words; int64 tensors."""

    input_ids: np.ndarray  # `(tokens,)`, the caption with masked words replaced
    positions: np.ndarray  # `(masked,)`, positions of masked words, ascending; may be empty
    labels: np.ndarray  # `(masked,)`, their true ids


class CaptionMasking:
    """Mask a caption's tokens by draws that depend only on seed, epoch and row.

    Args:
        tokenizer: CLIP's. A random word is any token before its mask token, see [`mask_token_id`].
        probability: of masking each word, in [0, 1].

    Raises:
        ValueError: the tokenizer has no mask token, or a probability out of range.
        TypeError: the probability is no number.
    """

    def __init__(self, tokenizer: Any, probability: float = 0.15) -> None:
        check_number("probability", probability, least=0, most=1)
        self.mask_id = mask_token_id(tokenizer)
        self.probability = probability

    def __call__(self, token_ids: Sequence[int], seed: int, epoch: int, row: int) -> MaskedCaption:
        """Return the masked caption; `token_ids` does not change.

        Args:
            token_ids: start token, words, end token.
            seed, epoch, row: of the run and of the caption in the training split, 0 or more.

        Raises ValueError, TypeError: a number is negative or no integer.
        """
        draws = caption_random(seed, epoch, row, _STREAM).random((3, len(token_ids)))
        return mask_tokens(
            token_ids,
            draws,
            mask_id=self.mask_id,
            random_low=0,
            random_high=self.mask_id,
            probability=self.probability,
        )


def mask_tokens(
    token_ids: Sequence[int],
    draws: np.ndarray,
    *,
    mask_id: int,
    random_low: int,
    random_high: int,
    probability: float = 0.15,
) -> MaskedCaption:
    """Choose words to predict: 80 % become the mask, 10 % a random word, 10 % stay.

    The first and the last token are never chosen.

    Args:
        token_ids: at least 2: start token, words, end token, without padding; they do not change.
        draws: `(3, tokens)`, uniform in [0, 1): choice of words, their fate, and the random word.
        mask_id: token of a masked word.
        random_low, random_high: half-open range of random words; leave special tokens out.
        probability: of choosing each word, in [0, 1].

    Raises:
        ValueError: a shape or setting breaks its rule.
        TypeError: a setting is no number.
    """
    clean = np.asarray(token_ids, dtype=np.int64)
    if clean.ndim != 1 or len(clean) < 2:
        raise ValueError(
            f"token_ids has shape {clean.shape}: it must be one caption, its start and end token included."
        )
    if draws.shape != (3, len(clean)):
        raise ValueError(f"draws has shape {draws.shape}: it must be (3, {len(clean)}).")
    check_number("probability", probability, least=0, most=1)
    check_integer("random_low", random_low, least=0)
    check_integer("random_high", random_high, least=random_low + 1)
    chosen, fate, word = draws
    positions = 1 + np.flatnonzero(chosen[1:-1] < probability)
    random_words = (random_low + (random_high - random_low) * word).astype(np.int64)
    hidden = np.where(fate < 0.8, mask_id, np.where(fate < 0.9, random_words, clean))
    masked = clean.copy()
    masked[positions] = hidden[positions]
    return MaskedCaption(masked, positions, clean[positions])
