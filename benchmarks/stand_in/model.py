"""The stand-in CLIP's parts: a small tokenizer in CLIP's format, a plain `CLIPModel`, its features and its folder."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import pre_tokenizers
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

__all__ = ["CONTEXT_LENGTH", "build_model", "image_embeds", "learn_tokenizer", "save_model", "text_embeds", "tokenize"]

CONTEXT_LENGTH = 77
"""Positions of the text tower, as in CLIP."""

_START, _END, _WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
# The channels' mean and standard deviation that CLIP was trained with (openai/CLIP, clip.py).
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


def _learn_merges(words: Counter[tuple[str, ...]], limit: int) -> list[tuple[str, str]]:
    """Byte-pair encoding (arXiv 1508.07909, algorithm 1): merges the commonest pair of units, again and again.

    Equally common pairs are taken in alphabetical order. The trainer of the `tokenizers` library breaks such ties by
    the order of a randomly seeded hash map, so that two runs with one seed could learn two tokenizers.

    Args:
        words: how often each word occurs; a word is its units.
        limit: number of merges at most; fewer where all words are whole.
    """
    merges: list[tuple[str, str]] = []
    while len(merges) < limit:
        pairs: Counter[tuple[str, str]] = Counter()
        for units, count in words.items():
            for pair in pairwise(units):
                pairs[pair] += count
        if not pairs:
            break
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        words = Counter({_merge(units, merges[-1]): count for units, count in words.items()})
    return merges


def _merge(units: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """The units with each occurrence of the pair, from left to right, made one."""
    merged: list[str] = []
    index = 0
    while index < len(units):
        width = 2 if units[index : index + 2] == pair else 1
        merged.append("".join(units[index : index + width]))
        index += width
    return tuple(merged)


def learn_tokenizer(captions: Iterable[str], merges: int = 450) -> CLIPTokenizer:
    """Learns a byte-level BPE with CLIP's layout: bytes, bytes that end a word, merges, start, end (the largest id).

    Args:
        captions: the texts to learn from.
        merges: number of merges to learn at most.
    """
    clip_format = CLIPTokenizer().backend_tokenizer
    words: Counter[tuple[str, ...]] = Counter()
    for caption in captions:
        for word, _ in clip_format.pre_tokenizer.pre_tokenize_str(clip_format.normalizer.normalize_str(caption)):
            words[(*word[:-1], word[-1] + _WORD_END)] += 1
    learned = _learn_merges(words, merges)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    units = [*letters, *(letter + _WORD_END for letter in letters), *(left + right for left, right in learned)]
    # Two merges may spell one unit: it keeps its first place.
    names = dict.fromkeys([*units, _START, _END])
    vocabulary = {name: index for index, name in enumerate(names)}
    return CLIPTokenizer(vocab=vocabulary, merges=learned, model_max_length=CONTEXT_LENGTH)


def tokenize(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> Tensor:
    """Token ids `[captions, longest]` int64, padded with the end token, at most `CONTEXT_LENGTH` long."""
    encoded = tokenizer(list(captions), padding=True, truncation=True, max_length=CONTEXT_LENGTH, return_tensors="pt")
    return encoded["input_ids"]


def build_model(
    tokenizer: CLIPTokenizer,
    width: int = 128,
    vision_layers: int = 4,
    text_layers: int = 3,
    heads: int = 4,
    image_size: int = 96,
    patch_size: int = 16,
) -> CLIPModel:
    """A `CLIPModel` with random weights for this tokenizer; the shared space is `width` wide.

    `gelu` takes the place of CLIP's `quick_gelu`, which is several times slower on a CPU.
    """
    shared = {
        "hidden_act": "gelu",
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_attention_heads": heads,
        "projection_dim": width,
    }
    text = {
        **shared,
        "vocab_size": len(tokenizer),
        "num_hidden_layers": text_layers,
        "max_position_embeddings": CONTEXT_LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**shared, "num_hidden_layers": vision_layers, "image_size": image_size, "patch_size": patch_size}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=width))


def _normalise(pixels: Tensor) -> Tensor:
    """uint8 pictures `[N, height, width, 3]` as CLIP's image processor gives them, float32 `[N, 3, height, width]`."""
    channels = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (_MEAN, _STD))
    return (channels - mean) / std


def image_embeds(model: CLIPModel, pixels: Tensor) -> Tensor:
    """uint8 `[N, H, W, 3]` to unit `[N, D]` float32; another size than the model's gets a bicubically resized grid."""
    side = model.config.vision_config.image_size
    other_grid = tuple(pixels.shape[1:3]) != (side, side)
    features = model.get_image_features(_normalise(pixels), interpolate_pos_encoding=other_grid)
    return F.normalize(features.pooler_output.float(), dim=-1)


def text_embeds(model: CLIPModel, input_ids: Tensor) -> Tensor:
    """Token ids `[N, L]` to unit `[N, D]` float32; columns that hold only padding are cut."""
    longest = int((input_ids != model.config.text_config.eos_token_id).sum(dim=1).max()) + 1
    return F.normalize(model.get_text_features(input_ids[:, :longest]).pooler_output.float(), dim=-1)


def save_model(model: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Writes the folder that `CLIPModel`, `CLIPTokenizer` and `CLIPImageProcessorPil` load."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    side = model.config.vision_config.image_size
    size = {"height": side, "width": side}
    CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False).save_pretrained(folder)
