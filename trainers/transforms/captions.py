"""Augmentations of caption tokens: word deletion and token masking."""

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
    """Augment a caption's tokens by draws that depend only on seed, epoch and row.

    `deletion` drops each word or punctuation mark with its probability, but never all ("random deletion" of EDA, arXiv
    1901.11196). `mask` replaces each token by the mask token with its probability, which IRRA's code does by accident:
    its masked captions, meant for the language head, reach all losses. Start and end token stay.

    Args:
        probabilities: augmentation -> probability in [0, 1]; others are off.
        tokenizer: CLIP's.

    Raises ValueError: the tokenizer does not mark ends of words, or has no mask token (see [`mask_token_id`]).
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
        """Return augmented tokens; `token_ids` does not change.

        Args:
            token_ids: start token, words, end token.
            seed, epoch, row: of the run and of the caption in the training split, 0 or more.

        Raises ValueError, TypeError: a number is negative or no integer.
        """
        random = caption_random(seed, epoch, row, _STREAM)
        inner = np.array(token_ids[1:-1], dtype=np.int64)
        masked = random.random(len(inner)) < self.mask
        kept = self._kept(inner, random)
        return [token_ids[0], *np.where(masked, self.mask_id, inner)[kept].tolist(), token_ids[-1]]

    def _kept(self, tokens: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return a mask, `(tokens,)`, that keeps whole words, at least one."""
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
    """Return the random numbers of one caption in one epoch.

    Args:
        seed, epoch, row: of the run and of the caption in the training split, 0 or more.
        stream: purpose of the numbers, 0 or more; every use has its own.

    Raises ValueError, TypeError: a number is negative or no integer.
    """
    for name, value in (("seed", seed), ("epoch", epoch), ("row", row)):
        check_integer(name, value, least=0)
    # a key of three numbers: that of two is the image's
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch, row, stream)))


def mask_token_id(tokenizer: Any) -> int:
    """Return the token of the last BPE merge, which masks words as in IRRA.

    CLIP has no mask token. This is the rarest of the vocabulary, right before the start token: 49405 in OpenAI's.

    Raises ValueError: the vocabulary does not end with its last merge, the start and the end token.
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
