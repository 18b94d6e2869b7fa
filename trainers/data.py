"""Training pairs: one caption and its image a row, batched the same way on one process or many."""

from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from trainers.samplers import shuffled_indices
from trainers.transforms import TrainingTransform, sample_generator


class CaptionPairs(Dataset):
    """One row for each caption of a split, with its image augmented.

    Captions are tokenised once. A row is asked for as `(epoch, row)`: the augmentation's random draws hang on the
    seed, the epoch and the row alone, so that neither worker count nor order changes the data.

    Args:
        dataset: rows with `image`, `image_id`, `person_id`, `captions`.
        tokenizer: CLIP's tokenizer; captions are cut to its `model_max_length`, their end token kept.
        transform: PIL image and generator -> `(3, height, width)`.
        seed: of the augmentations.

    Raises:
        ValueError: no rows, or a blank caption.
    """

    def __init__(self, dataset: datasets.Dataset, tokenizer: Any, transform: TrainingTransform, seed: int) -> None:
        captions = dataset["captions"]
        self.pairs = [(image, text) for image, texts in enumerate(captions) for text in texts]
        if not self.pairs:
            raise ValueError("the training split has no captions; check the data set's train split")
        for image, text in self.pairs:
            if not text.strip():
                raise ValueError(f"training row {image} has a blank caption; remove it from the annotation")
        self.token_ids = tokenizer([text for _, text in self.pairs], truncation=True)["input_ids"]
        self.images = dataset.select_columns(["image", "image_id"])
        self.person_ids = list(dataset["person_id"])
        # sorted, never in the order of a set: labels must not depend on hashing
        self.label_of = {person_id: label for label, person_id in enumerate(sorted(set(self.person_ids)))}
        self.transform = transform
        self.seed = seed

    @property
    def num_identities(self) -> int:
        """Number of persons in the split."""
        return len(self.label_of)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: tuple[int, int]) -> dict[str, Any]:
        """The pair of `(epoch, row)`.

        Raises:
            OSError: the image cannot be decoded.
        """
        epoch, row = index
        image_row = self.pairs[row][0]
        record = self.images[image_row]
        try:
            pixels = self.transform(record["image"], sample_generator(self.seed, epoch, row))
        except OSError as error:
            raise OSError(
                f"image {record['image_id']!r} (training row {image_row}) cannot be read: {error}"
            ) from error
        return {
            "pixel_values": pixels,
            "input_ids": self.token_ids[row],
            "person_id": self.person_ids[image_row],
            "label": self.label_of[self.person_ids[image_row]],
            "image_row": image_row,
        }


class PairCollator:
    """Stacks pairs; captions are padded to the longest of the batch, on the right.

    Args:
        pad_token_id: the token to pad with.
    """

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, pairs: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """`pixel_values` (batch, 3, height, width), `input_ids` (batch, tokens), and (batch,) `person_ids`, `labels`,
        `image_ids`."""
        input_ids = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(pair["input_ids"]) for pair in pairs], batch_first=True, padding_value=self.pad_token_id
        )
        return {
            "pixel_values": torch.stack([pair["pixel_values"] for pair in pairs]),
            "input_ids": input_ids,
            "person_ids": torch.tensor([pair["person_id"] for pair in pairs]),
            "labels": torch.tensor([pair["label"] for pair in pairs]),
            "image_ids": torch.tensor([pair["image_row"] for pair in pairs]),
        }


class StepBatches(Sampler):
    """Batches of `(epoch, row)` for a number of steps, one process's share of each global batch.

    An epoch is a permutation of all rows, cut into global batches of `batch_size * world_size`; rank r takes the r-th
    part of each, so that the union over ranks is what one process with the larger batch would see. The incomplete
    batch at an epoch's end is left out, another one in every epoch.

    Args:
        num_rows: rows of the split.
        batch_size: pairs of one process in one step.
        num_steps: batches to yield.
        seed: of the permutations.
        rank: this process.
        world_size: number of processes.

    Raises:
        ValueError: a global batch larger than the split.
    """

    def __init__(
        self, num_rows: int, batch_size: int, num_steps: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.num_rows = num_rows
        self.batch_size = batch_size
        self.num_steps = num_steps
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.per_epoch = batches_per_epoch(num_rows, batch_size, world_size)

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.num_steps):
            epoch, batch = divmod(step, self.per_epoch)
            if batch == 0:
                order = shuffled_indices(self.num_rows, self.seed, epoch)
            start = (batch * self.world_size + self.rank) * self.batch_size
            yield [(epoch, row) for row in order[start : start + self.batch_size]]


def batches_per_epoch(num_rows: int, batch_size: int, world_size: int) -> int:
    """Complete global batches in one pass over the rows.

    Raises:
        ValueError: there is none.
    """
    if batch_size * world_size > num_rows:
        raise ValueError(
            f"batch_size {batch_size} on {world_size} process(es) needs {batch_size * world_size} caption-image "
            f"pairs, the training split has {num_rows}; lower batch_size"
        )
    return num_rows // (batch_size * world_size)


def pair_loader(pairs: CaptionPairs, batches: StepBatches, pad_token_id: int, num_workers: int) -> DataLoader:
    """A loader of `batches`; workers prefetch, and the data is the same for any number of them."""
    return DataLoader(
        pairs,
        batch_sampler=batches,
        collate_fn=PairCollator(pad_token_id),
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_one_thread if num_workers else None,
    )


def _one_thread(worker: int) -> None:
    """A worker prepares images one by one: more threads would only fight the training process for cores."""
    torch.set_num_threads(1)


__all__ = ["CaptionPairs", "PairCollator", "StepBatches", "batches_per_epoch", "pair_loader"]
