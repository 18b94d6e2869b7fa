"""Training pairs of a stream: read once an epoch, shuffled in windows."""

import itertools
from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import datasets
from datasets.utils import tqdm
from torch.utils.data import Dataset, Sampler

from dataset_scripts.annotations.captions import clean_caption
from trainers.data.batches import check_batch_fits
from trainers.data.pairs import PairAugmenter
from trainers.data.samplers import shuffled_indices
from trainers.objectives import CaptionMasking
from trainers.transforms.captions import TextAugmentation
from trainers.transforms.images import TrainingTransform

BOOKMARK_EVERY = 1000  # images; a run that goes on reads at most so many, and a window, again


class StreamedPair(NamedTuple):
    """A caption and its encoded image on the way to a worker."""

    epoch: int  # epoch, row, image_row: of the pair and its image in the split, 0 or more
    row: int
    image_row: int
    record: dict[str, Any]  # `image` (`bytes` and `path`), `image_id`, `person_id`
    caption: str  # the sentence


class _Bookmark(NamedTuple):
    """Where to resume reading: `datasets`' state before an image, its row, first pair and id."""

    row: int
    image_row: int
    image_id: str
    state: dict[str, Any]


class StreamedPairs(Dataset):
    """Pairs like [`CaptionPairs`], from a split that is never in memory as a whole.

    The training process reads encoded images once an epoch; workers decode and augment. The stream is cut into equal
    windows of at most `shuffle_buffer` pairs, each permuted. If one window holds the split, pairs and order equal
    those of [`CaptionPairs`]. Otherwise distant rows never meet in a batch, so do not sort the files.

    Args:
        dataset: rows with `image`, `image_id`, `person_id`, `captions`, the same in every pass.
        tokenizer: CLIP's; captions are cut to its `model_max_length` and keep their end token.
        transform: PIL image and generator -> `(3, height, width)`.
        seed: of the augmentations and the order.
        shuffle_buffer: pairs, 1 or more.
        augment_text: of the captions, if any.
        mask_words: of the captions, for the objective `mlm`.
        clean_captions: clean them first, like the processor.

    Raises ValueError: no rows, a blank caption, or a stream that does not know its columns.
    """

    def __init__(
        self,
        dataset: datasets.IterableDataset,
        tokenizer: Any,
        transform: TrainingTransform,
        seed: int,
        shuffle_buffer: int,
        augment_text: TextAugmentation | None = None,
        mask_words: CaptionMasking | None = None,
        clean_captions: bool = True,
    ) -> None:
        if dataset.features is None:
            raise ValueError("the training stream does not know its columns; give it with features")
        columns = dataset.select_columns(["image", "image_id", "person_id", "captions"])
        self.stream = columns.cast_column("image", datasets.Image(decode=False))
        self.num_pairs, self.label_of, self.bookmarks = _survey(dataset)
        self.window_sizes = window_sizes(self.num_pairs, shuffle_buffer)
        self.augmenter = PairAugmenter(dataset.features["image"], transform, seed, augment_text, mask_words)
        self.tokenizer = tokenizer
        self.clean_captions = clean_captions
        self.seed = seed

    image_names = None  # a stream is not looked up by row

    @property
    def num_identities(self) -> int:
        """Number of persons in the split."""
        return len(self.label_of)

    def __len__(self) -> int:
        return self.num_pairs

    def __getitem__(self, pair: StreamedPair) -> dict[str, Any]:
        """Decode and augment the pair.

        Raises OSError: the image cannot be decoded.
        """
        caption = clean_caption(pair.caption) if self.clean_captions else pair.caption
        token_ids = self.tokenizer(caption, truncation=True)["input_ids"]
        return {
            **self.augmenter(pair.epoch, pair.row, pair.image_row, pair.record, token_ids),
            "person_id": pair.record["person_id"],
            "label": self.label_of[pair.record["person_id"]],
        }

    def batches_per_epoch(self, batch_size: int, world_size: int = 1) -> Fraction:
        """Count global batches of an epoch, as a fraction.

        Raises ValueError: the split has too few pairs for one.
        """
        check_batch_fits(self.num_pairs, batch_size, world_size)
        return Fraction(self.num_pairs, batch_size * world_size)

    def batches(
        self, batch_size: int, num_steps: int, rank: int = 0, world_size: int = 1, done: int = 0
    ) -> "StreamBatches":
        """Return the batches of one process's loader, see [`StreamBatches`]."""
        return StreamBatches(self, batch_size, num_steps, rank, world_size, done)

    def shuffled(self, first_epoch: int = 0, done: int = 0) -> Iterator[StreamedPair]:
        """Yield all pairs, epoch after epoch, without the first `done` of the first epoch."""
        starts = list(itertools.accumulate(self.window_sizes, initial=0))
        window = bisect_right(starts, done) - 1
        pairs = self._shuffled_windows(first_epoch, window, self._in_order(first_epoch, starts[window]))
        return itertools.islice(pairs, done - starts[window], None)

    def _shuffled_windows(
        self, first_epoch: int, first_window: int, in_order: Iterator[StreamedPair]
    ) -> Iterator[StreamedPair]:
        """Permute window after window; read one pair for each that leaves, so memory stays constant."""
        ahead = list(itertools.islice(in_order, self.window_sizes[first_window]))
        for epoch in itertools.count(first_epoch):
            for number in range(first_window if epoch == first_epoch else 0, len(self.window_sizes)):
                window: list[Any] = ahead
                ahead = []
                next_size = self.window_sizes[(number + 1) % len(self.window_sizes)]
                for position in shuffled_indices(len(window), self.seed, epoch, number):
                    yield window[position]
                    window[position] = None
                    if len(ahead) < next_size:
                        ahead.append(next(in_order))
                ahead.extend(itertools.islice(in_order, next_size - len(ahead)))

    def _in_order(self, first_epoch: int, first_row: int) -> Iterator[StreamedPair]:
        """Yield all pairs in the order of the stream, from a row of an epoch on, without end."""
        for epoch in itertools.count(first_epoch):
            row, first_image, records = self._records_before(first_row if epoch == first_epoch else 0)
            for image_row, record in enumerate(records, first_image):
                captions = record.pop("captions")
                for caption in captions:
                    if epoch > first_epoch or row >= first_row:
                        yield StreamedPair(epoch, row, image_row, record, caption)
                    row += 1
            if row != self.num_pairs:
                raise ValueError(
                    f"the training stream had {self.num_pairs} caption-image pairs and has {row} in epoch {epoch}; "
                    "it must not change while a run reads it"
                )

    def _records_before(self, row: int) -> tuple[int, int, Iterator[dict[str, Any]]]:
        """Return pair and image row of the last bookmark before a pair, and the records from there."""
        passed = bisect_right(self.bookmarks, row, key=lambda bookmark: bookmark.row)
        if passed:
            bookmark = self.bookmarks[passed - 1]
            # another object, as the state must not stay for the next epoch; copy.copy shares it
            stream = self.stream.cast_column("image", datasets.Image(decode=False))
            stream.load_state_dict(bookmark.state)
            records = iter(stream)
            first = next(records, None)
            # A stream with a shuffle buffer of its own loses the buffer's rows on the way: it is read from its start.
            if first is not None and first["image_id"] == bookmark.image_id:
                return bookmark.row, bookmark.image_row, itertools.chain([first], records)
        return 0, 0, iter(self.stream)


class StreamBatches(Sampler):
    """Batches of [`StreamedPair`]: one process's share of each global batch.

    Cut like [`StepBatches`], across the ends of epochs. Every process reads the whole stream: `split_dataset_by_node`
    would fix the rows of each process, so batches would depend on their number. Only encoded bytes are read by all: a
    process decodes and augments only its own pairs.

    Args:
        pairs: of the split.
        batch_size: pairs of one process in one step.
        num_steps: number of batches.
        rank: this process.
        world_size: number of processes.
        done: batches to skip at the start, when a run resumes.
    """

    def __init__(
        self,
        pairs: StreamedPairs,
        batch_size: int,
        num_steps: int,
        rank: int = 0,
        world_size: int = 1,
        done: int = 0,
    ) -> None:
        self.pairs = pairs
        self.batch_size = batch_size
        self.num_steps = num_steps
        self.rank = rank
        self.world_size = world_size
        self.done = done

    def __len__(self) -> int:
        return self.num_steps - self.done

    def __iter__(self) -> Iterator[list[StreamedPair]]:
        global_batch = self.batch_size * self.world_size
        shuffled = self.pairs.shuffled(*divmod(self.done * global_batch, len(self.pairs)))
        for _ in range(len(self)):
            batch = list(itertools.islice(shuffled, global_batch))
            yield batch[self.rank * self.batch_size : (self.rank + 1) * self.batch_size]


def window_sizes(num_pairs: int, shuffle_buffer: int) -> list[int]:
    """Sizes of the fewest windows of at most `shuffle_buffer` pairs, equal up to one pair."""
    windows = -(-num_pairs // shuffle_buffer)
    size, larger = divmod(num_pairs, windows)
    return [size + 1] * larger + [size] * (windows - larger)


def first_rows(dataset: datasets.Dataset | datasets.IterableDataset, count: int) -> datasets.Dataset:
    """Take at most `count` first rows; a stream's rows go into memory, images stay encoded."""
    if isinstance(dataset, datasets.Dataset):
        return dataset.select(range(min(count, len(dataset))))
    encoded = dataset.cast_column("image", datasets.Image(decode=False))
    rows = datasets.Dataset.from_list(list(encoded.take(count)), features=encoded.features)
    return rows.cast_column("image", dataset.features["image"])


def _survey(dataset: datasets.IterableDataset) -> tuple[int, dict[int, int], list[_Bookmark]]:
    """Count pairs, label persons in ascending order and set bookmarks, in one pass.

    Raises ValueError: no captions, or a blank one.
    """
    persons, row, bookmarks, state = set(), 0, [], None
    # one image at a time: the state of a pass in batches would not fit the passes of training
    stream = dataset.select_columns(["image_id", "person_id", "captions"])
    for image_row, record in enumerate(tqdm(stream, desc="Counting pairs", unit=" images", delay=2)):
        if state is not None:
            bookmarks.append(_Bookmark(row, image_row, record["image_id"], state))
        persons.add(record["person_id"])
        if not all(caption.strip() for caption in record["captions"]):
            raise ValueError(f"training row {image_row} has a blank caption; remove it from the data set")
        row += len(record["captions"])
        state = stream.state_dict() if (image_row + 1) % BOOKMARK_EVERY == 0 else None
    if not row:
        raise ValueError("the training split has no captions; check the data set's train split")
    return row, {person_id: label for label, person_id in enumerate(sorted(persons))}, bookmarks


__all__ = ["StreamBatches", "StreamedPair", "StreamedPairs", "first_rows", "window_sizes"]
