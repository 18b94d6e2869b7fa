"""Word-level augmentations of training captions, on their tokens: a word left out, a token masked."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dataset_scripts.common.numbers import check_integer

__all__ = ["TEXT_AUGMENTATIONS", "TextAugmentation", "caption_random", "mask_token_id"]

TEXT_AUGMENTATIONS = ("deletion", "mask")
"""Names of the augmentations."""

_WORD_END = "</w>"
_STREAM = 1


class TextAugmentation:
    """Augments one caption's tokens, by draws that hang on the run's seed, the epoch and the row alone.

    `deletion` leaves out each word (or punctuation mark) with its probability, never all of them ("random deletion" of
    EDA, arXiv 1901.11196). `mask` puts the mask token in the place of each token with its probability; the field's
    code does so by an accident (IRRA's masked captions, meant for its masked-language head, reach all its losses),
    here it is a choice. Start and end token stay.

    Args:
        probabilities: augmentation -> probability in [0, 1]; what is not named is off.
        tokenizer: CLIP's.

    Raises:
        ValueError: the tokenizer does not mark where words end, or has no mask token (see [`mask_token_id`]).
    """

    def __init__(self, probabilities: Mapping[str, float], tokenizer: Any) -> None:
        self.deletion = probabilities.get("deletion", 0.0)
        self.mask = probabilities.get("mask", 0.0)
        self.mask_id = mask_token_id(tokenizer) if self.mask else -1
        tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        self.ends_word = np.array([token.endswith(_WORD_END) for token in tokens])
        if self.deletion and not self.ends_word.any():
            raise ValueError(
                f"augment_text deletion needs tokens that end with {_WORD_END!r}, as CLIP's do, and the tokenizer has "
                "none: leave deletion out"
            )

    def __call__(self, token_ids: Sequence[int], seed: int, epoch: int, row: int) -> list[int]:
        """The augmented tokens; `token_ids` stays as it is.

        Args:
            token_ids: start token, words, end token.
            seed: the run's seed, 0 or more.
            epoch: 0 or more.
            row: of the caption in the training split, 0 or more.

        Raises:
            ValueError, TypeError: a number is negative or no integer.
        """
        random = caption_random(seed, epoch, row, _STREAM)
        inner = np.array(token_ids[1:-1], dtype=np.int64)
        masked = random.random(len(inner)) < self.mask
        kept = self._kept(inner, random)
        return [token_ids[0], *np.where(masked, self.mask_id, inner)[kept].tolist(), token_ids[-1]]

    def _kept(self, tokens: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Which tokens stay, `(tokens,)`: those of the words that stay, at least one word."""
        if not self.deletion or not len(tokens):
            return np.ones(len(tokens), dtype=bool)
        ends = self.ends_word[tokens]
        word_of_token = np.cumsum(ends) - ends
        words = word_of_token[-1] + 1
        stays = random.random(words) >= self.deletion
        if not stays.any():
            stays[random.integers(words)] = True
        return stays[word_of_token]


def caption_random(seed: int, epoch: int, row: int, stream: int) -> np.random.Generator:
    """Random numbers for one caption in one epoch, independent of all others and of those for its image.

    Args:
        seed: the run's seed, 0 or more.
        epoch: 0 or more.
        row: of the caption in the training split, 0 or more.
        stream: what they are for, 0 or more; every use has its own.

    Raises:
        ValueError, TypeError: a number is negative or no integer.
    """
    for name, value in (("seed", seed), ("epoch", epoch), ("row", row)):
        check_integer(name, value, least=0)
    # a key of three numbers: that of two is the image's
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch, row, stream)))


def mask_token_id(tokenizer: Any) -> int:
    """The token that stands for a masked one. CLIP has none; as in IRRA it is the token of the last BPE merge.

    That token is the rarest of the vocabulary, right before the start token: 49405 in OpenAI's.

    Raises:
        ValueError: the tokenizer's vocabulary does not end with its last merge, the start and the end token.
    """
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    last_merge = (model.get("merges") or [""])[-1]
    token = "".join(last_merge.split() if isinstance(last_merge, str) else last_merge)
    mask_id = model["vocab"].get(token) if isinstance(model["vocab"], dict) else None
    if mask_id is None or (mask_id + 1, mask_id + 2) != (tokenizer.bos_token_id, tokenizer.eos_token_id):
        raise ValueError(
            f"masking takes the token of the last BPE merge, which CLIP's vocabulary has right before its start and "
            f"end tokens; this tokenizer has it at {mask_id}, and those at {tokenizer.bos_token_id} and "
            f"{tokenizer.eos_token_id}: use a tokenizer of CLIP, or train without masking"
        )
    return mask_id
