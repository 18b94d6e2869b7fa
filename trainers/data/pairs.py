"""Training pairs: one caption and its image, augmented and stacked."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import datasets
import numpy as np
import pyarrow.compute as pc
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from dataset_scripts.common.images import DECODING_ERRORS
from modeling_prompt_clip.retrieval.workers import WorkerLoader
from trainers.data.batches import EpochOrder, StepBatches, by_identity, by_length, check_batch_fits, shuffled
from trainers.data.tokenization import tokenized_captions
from trainers.objectives import CaptionMasking
from trainers.objectives.mlm import IGNORED
from trainers.transforms.captions import TextAugmentation
from trainers.transforms.images import TrainingTransform, sample_generator


class PairAugmenter:
    """Make a training pair from an encoded image and a caption's tokens.

    Random draws depend only on seed, epoch and row, not on workers, order or source of the row.

    Args:
        feature: of the data set's `image` column, for decoding.
        transform: PIL image and generator -> `(3, height, width)`.
        seed: of the augmentations.
        augment_text: of the captions, if any.
        mask_words: of the captions before that, for the objective `mlm`.
    """

    def __init__(
        self,
        feature: datasets.Image,
        transform: TrainingTransform,
        seed: int,
        augment_text: TextAugmentation | None = None,
        mask_words: CaptionMasking | None = None,
    ) -> None:
        self.feature = feature
        self.transform = transform
        self.seed = seed
        self.augment_text = augment_text
        self.mask_words = mask_words

    def __call__(
        self, epoch: int, row: int, image_row: int, record: Mapping[str, Any], token_ids: Sequence[int]
    ) -> dict[str, Any]:
        """Return `pixel_values`, `input_ids`, `image_row` and, with `mask_words`, `masked`.

        Args:
            epoch, row, image_row: of the pair and its image in the split, 0 or more.
            record: `image` (`bytes` and `path`, as `datasets` stores it) and `image_id`.
            token_ids: of the caption; they do not change.

        Raises OSError: the image cannot be decoded.
        """
        try:
            image = self.feature.decode_example(record["image"])
            pixels = self.transform(image, sample_generator(self.seed, epoch, row))
        except DECODING_ERRORS as error:
            raise OSError(
                f"image {record['image_id']!r} (training row {image_row}) cannot be read: {error}"
            ) from error
        pair = {"pixel_values": pixels, "input_ids": token_ids, "image_row": image_row}
        if self.augment_text is not None:
            pair["input_ids"] = self.augment_text(token_ids, self.seed, epoch, row)
        if self.mask_words is not None:
            pair["masked"] = self.mask_words(token_ids, self.seed, epoch, row)
        return pair


class CaptionPairs(Dataset):
    """Dataset of one row for each caption of a split, with its augmented image.

    Captions are tokenised once by [`tokenized_captions`]. Indices are `(epoch, row)`, see [`PairAugmenter`].

    Args:
        dataset: rows with `image`, `image_id`, `person_id`, `captions`.
        tokenizer: CLIP's; captions are cut to its `model_max_length` and keep their end token.
        transform: PIL image and generator -> `(3, height, width)`.
        seed: of the augmentations and the order.
        augment_text: of the captions, if any.
        mask_words: of the captions, for the objective `mlm`.
        sampling: `"shuffle"`, `"identity"` or `"length"`.
        num_instances: with `"identity"`, pairs of a person in a batch.
        clean_captions: see [`tokenized_captions`].

    Raises ValueError: no rows, or a blank caption.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        tokenizer: Any,
        transform: TrainingTransform,
        seed: int,
        augment_text: TextAugmentation | None = None,
        mask_words: CaptionMasking | None = None,
        sampling: str = "shuffle",
        num_instances: int = 4,
        clean_captions: bool = True,
    ) -> None:
        self.tokens = tokenized_captions(dataset, tokenizer, clean_captions)
        captions = _list_lengths(self.tokens)
        if not captions.sum():
            raise ValueError("the training split has no captions; check the data set's train split")
        self.image_rows = np.repeat(np.arange(len(captions)), captions)
        self.first_pairs = captions.cumsum() - captions
        self.augmenter = PairAugmenter(dataset.features["image"], transform, seed, augment_text, mask_words)
        self.images = dataset.select_columns(["image", "image_id"]).cast_column("image", datasets.Image(decode=False))
        self.person_ids = list(dataset["person_id"])
        # sorted, never in the order of a set: labels must not depend on hashing
        self.label_of = {person_id: label for label, person_id in enumerate(sorted(set(self.person_ids)))}
        self.seed = seed
        self.sampling = sampling
        self.num_instances = num_instances

    @property
    def image_names(self) -> Sequence[str]:
        """`image_id` of each image row."""
        return self.images["image_id"]

    @property
    def num_identities(self) -> int:
        """Number of persons in the split."""
        return len(self.label_of)

    def __len__(self) -> int:
        return len(self.image_rows)

    def __getitem__(self, index: tuple[int, int]) -> dict[str, Any]:
        """The pair of `(epoch, row)`.

        Raises OSError: the image cannot be decoded.
        """
        epoch, row = index
        image_row = int(self.image_rows[row])
        record = self.images[image_row]
        token_ids = self.tokens[image_row]["input_ids"][row - int(self.first_pairs[image_row])]
        return {
            **self.augmenter(epoch, row, image_row, record, token_ids),
            "person_id": self.person_ids[image_row],
            "label": self.label_of[self.person_ids[image_row]],
        }

    def batches_per_epoch(self, batch_size: int, world_size: int = 1) -> Fraction:
        """Count global batches of an epoch, as a fraction.

        Raises ValueError: the split has too few pairs or persons for one.
        """
        return Fraction(self._order(batch_size, world_size).rows, batch_size * world_size)

    def batches(
        self, batch_size: int, num_steps: int, rank: int = 0, world_size: int = 1, done: int = 0
    ) -> StepBatches:
        """Return the batches of one process's loader, see [`StepBatches`].

        Raises ValueError: the split has too few pairs or persons for a batch.
        """
        return StepBatches(self._order(batch_size, world_size), batch_size, num_steps, rank, world_size, done)

    def _order(self, batch_size: int, world_size: int) -> EpochOrder:
        global_batch = batch_size * world_size
        if self.sampling == "identity":
            person_ids = [self.person_ids[image_row] for image_row in self.image_rows]
            return by_identity(person_ids, global_batch, self.num_instances, self.seed)
        check_batch_fits(len(self), batch_size, world_size)
        if self.sampling == "length":
            return by_length(_caption_lengths(self.tokens), global_batch, self.seed)
        return shuffled(len(self), self.seed)


class PairCollator:
    """Stack pairs and pad captions on the right to the longest of the batch."""

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, pairs: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return `pixel_values` (batch, 3, height, width) and `input_ids` (batch, tokens).

        Also `person_ids`, `labels` and `image_ids` (batch,), and for pairs with masked captions `masked_input_ids`
        (batch, masked tokens), `mlm_positions` and `mlm_labels` (batch, words).
        """
        batch = {
            "pixel_values": default_collate([pair["pixel_values"] for pair in pairs]),  # into shared memory at once
            "input_ids": _padded([pair["input_ids"] for pair in pairs], self.pad_token_id),
            "person_ids": torch.tensor([pair["person_id"] for pair in pairs]),
            "labels": torch.tensor([pair["label"] for pair in pairs]),
            "image_ids": torch.tensor([pair["image_row"] for pair in pairs]),
        }
        if "masked" in pairs[0]:
            masked = [pair["masked"] for pair in pairs]
            batch["masked_input_ids"] = _padded([caption.input_ids for caption in masked], self.pad_token_id)
            batch["mlm_positions"] = _padded([caption.positions for caption in masked], 0)
            batch["mlm_labels"] = _padded([caption.labels for caption in masked], IGNORED)
        return batch


def pair_loader(pairs: Dataset, batches: Sampler, pad_token_id: int, num_workers: int) -> DataLoader:
    """Load `batches` of `pairs`; the data is the same for any number of workers."""
    return WorkerLoader(
        pairs,
        batch_sampler=batches,
        collate_fn=PairCollator(pad_token_id),
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
    )


def _list_lengths(tokens: datasets.Dataset) -> np.ndarray:
    """Count captions of each image, `(images,)`."""
    if not len(tokens):
        return np.zeros(0, dtype=np.int64)
    return pc.list_value_length(tokens.data.column("input_ids")).to_numpy().astype(np.int64)


def _caption_lengths(tokens: datasets.Dataset) -> np.ndarray:
    """Count tokens of each caption, image by image, `(pairs,)`."""
    return pc.list_value_length(pc.list_flatten(tokens.data.column("input_ids"))).to_numpy()


def _padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Stack rows of integers, padded on the right to the longest."""
    tensors = [torch.tensor(row, dtype=torch.int64) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)


__all__ = ["CaptionPairs", "PairCollator", "pair_loader"]
