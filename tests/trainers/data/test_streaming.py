import itertools
from fractions import Fraction

import datasets
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from dataset_scripts import load_person_search
from dataset_scripts.parquet import convert_to_parquet
from person_search_folders import make_folder
from trainers import TwoStageTrainer
from trainers.data.pairs import CaptionPairs, pair_loader
from trainers.data.streaming import StreamedPairs, first_rows, window_sizes
from trainers.transforms.images import TrainingTransform

TRANSFORM = TrainingTransform((96, 32), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


@pytest.fixture(scope="module")
def tokenizer(tiny_clip_folder):
    return CLIPTokenizer.from_pretrained(tiny_clip_folder)


@pytest.fixture(scope="module")
def in_memory(splits, tokenizer):
    return CaptionPairs(splits["train"], tokenizer, TRANSFORM, seed=3)


@pytest.fixture(scope="module")
def streamed(splits, tokenizer):
    """The training split as pairs of a stream, by the size of the shuffle buffer."""
    stream = splits["train"].to_iterable_dataset()
    made = {size: StreamedPairs(stream, tokenizer, TRANSFORM, 3, size) for size in (5, 7, 24, 1000)}
    return made.__getitem__


def rows_of(batches) -> list[list[tuple[int, int]]]:
    """`(epoch, row)` of all pairs, batch by batch."""
    return [[(pair.epoch, pair.row) for pair in batch] for batch in batches]


@given(pairs=st.integers(1, 500), buffer=st.integers(1, 600))
def test_windows_fill_the_epoch_and_fit_the_buffer(pairs, buffer):
    sizes = window_sizes(pairs, buffer)
    assert sum(sizes) == pairs
    assert max(sizes) <= buffer
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-pairs // buffer)


def test_pairs_labels_and_sizes_are_those_of_the_table(in_memory, streamed):
    pairs = streamed(24)
    assert (len(pairs), pairs.num_identities, pairs.label_of) == (24, 6, in_memory.label_of)
    for pair in next(iter(pairs.batches(24, 1))):
        expected, found = in_memory[pair.epoch, pair.row], pairs[pair]
        assert torch.equal(expected.pop("pixel_values"), found.pop("pixel_values"))
        assert found == expected


@settings(deadline=None, max_examples=25)
@given(batch_size=st.integers(1, 6), world_size=st.integers(1, 3), steps=st.integers(1, 25))
def test_a_window_of_the_whole_set_gives_the_order_of_the_table(in_memory, streamed, batch_size, world_size, steps):
    for rank in range(world_size):
        table = in_memory.batches(batch_size, steps, rank, world_size)
        stream = streamed(1000).batches(batch_size, steps, rank, world_size)
        assert len(stream) == steps
        assert rows_of(stream) == list(table)


@pytest.mark.parametrize("buffer", [5, 7, 24])
def test_each_window_is_shuffled_and_every_row_seen_once_an_epoch(streamed, buffer):
    pairs = streamed(buffer)
    seen = iter((pair.epoch, pair.row) for pair in itertools.islice(pairs.shuffled(), 48))
    orders = set()
    for epoch in range(2):
        first = 0
        for size in pairs.window_sizes:
            window = list(itertools.islice(seen, size))
            assert sorted(window) == [(epoch, row) for row in range(first, first + size)]
            orders.add(tuple(row - first for _, row in window))
            first += size
    assert len(orders) == 2 * len(pairs.window_sizes)  # no window has another's order


@pytest.mark.parametrize("done", range(9))
def test_a_run_that_goes_on_sees_the_rest_of_the_batches(streamed, done):
    whole = rows_of(streamed(7).batches(5, 8))
    rest = streamed(7).batches(5, 8, done=done)
    assert rows_of(rest) == whole[done:] and len(rest) == 8 - done
    rest = [rows_of(streamed(7).batches(2, 8, rank, 2, done)) for rank in range(2)]
    whole = rows_of(streamed(7).batches(4, 8))
    assert [left + right for left, right in zip(*rest, strict=True)] == whole[done:]


def test_a_run_that_goes_on_reads_no_file_before_its_window(splits, tokenizer, monkeypatch):
    monkeypatch.setattr("trainers.data.streaming.BOOKMARK_EVERY", 1)
    encoded = splits["train"].cast_column("image", datasets.Image(decode=False))
    opened = []

    def rows(numbers):
        for number in numbers:
            opened.append(number)
            yield from encoded.select(range(3 * number, 3 * number + 3))

    stream = datasets.IterableDataset.from_generator(
        rows, gen_kwargs={"numbers": [0, 1, 2, 3]}, features=splits["train"].features
    )
    pairs = StreamedPairs(stream, tokenizer, TRANSFORM, 3, shuffle_buffer=6)
    whole = rows_of(pairs.batches(4, 18))
    for done in range(18):
        assert rows_of(pairs.batches(4, 18, done=done)) == whole[done:]
    opened.clear()
    next(iter(pairs.batches(4, 18, done=5)))  # its window begins with the last file
    assert opened[:2] == [2, 3]  # the state is that at the end of the file before
    opened.clear()
    next(iter(pairs.batches(4, 18, done=6)))
    assert opened[0] == 0


@pytest.mark.parametrize("num_shards", [1, 4])
def test_files_of_a_table_are_gone_on_with(splits, tokenizer, monkeypatch, num_shards):
    monkeypatch.setattr("trainers.data.streaming.BOOKMARK_EVERY", 2)
    stream = splits["train"].to_iterable_dataset(num_shards=num_shards)
    pairs = StreamedPairs(stream, tokenizer, TRANSFORM, 3, shuffle_buffer=5)
    whole = rows_of(pairs.batches(5, 10))
    assert [rows_of(pairs.batches(5, 10, done=done)) for done in range(10)] == [whole[done:] for done in range(10)]


def test_a_stream_that_shuffles_by_itself_is_gone_on_with_from_its_start(splits, tokenizer, monkeypatch):
    monkeypatch.setattr("trainers.data.streaming.BOOKMARK_EVERY", 2)
    stream = splits["train"].to_iterable_dataset(num_shards=4).shuffle(seed=5, buffer_size=4)
    pairs = StreamedPairs(stream, tokenizer, TRANSFORM, 3, shuffle_buffer=5)
    whole = [[pair.record["image_id"] for pair in batch] for batch in pairs.batches(5, 10)]
    for done in range(10):
        rest = [[pair.record["image_id"] for pair in batch] for batch in pairs.batches(5, 10, done=done)]
        assert rest == whole[done:]


def test_ranks_share_the_batches_of_small_windows(streamed):
    whole = rows_of(streamed(7).batches(6, 8))
    ranks = [rows_of(streamed(7).batches(3, 8, rank, 2)) for rank in range(2)]
    assert [left + right for left, right in zip(*ranks, strict=True)] == whole


def test_every_row_is_seen_once_an_epoch_across_the_ends_of_epochs(streamed):
    pairs = streamed(7)
    assert pairs.batches_per_epoch(5) == Fraction(24, 5)
    seen = [pair for batch in rows_of(pairs.batches(5, 10)) for pair in batch]
    for epoch in range(2):
        assert sorted(seen[24 * epoch : 24 * epoch + 24]) == [(epoch, row) for row in range(24)]
    with pytest.raises(ValueError, match="batch_size 13 on 2 process"):
        pairs.batches_per_epoch(13, 2)


def test_no_more_than_the_buffer_is_read_ahead(splits, tokenizer):
    read = []

    def rows():
        for record in splits["train"].cast_column("image", datasets.Image(decode=False)):
            read.append(record["image_id"])
            yield record

    features = splits["train"].features
    stream = datasets.IterableDataset.from_generator(rows, features=features)
    pairs = StreamedPairs(stream, tokenizer, TRANSFORM, 3, shuffle_buffer=6)
    read.clear()
    for given_out, _ in zip(range(1, 60), pairs.shuffled(), strict=False):
        assert 2 * len(read) - given_out <= 6 + 2  # two captions an image


def test_the_training_process_decodes_nothing(streamed, monkeypatch):
    monkeypatch.setattr(datasets.Image, "decode_example", lambda *args, **options: pytest.fail("decoded"))
    next(iter(streamed(24).batches(4, 1)))


def test_worker_count_does_not_change_the_data(streamed, tokenizer):
    def batches(workers):
        pairs = streamed(7)
        return list(pair_loader(pairs, pairs.batches(6, 5), tokenizer.pad_token_id, workers))

    for alone, together in zip(batches(0), batches(2), strict=True):
        assert all(torch.equal(alone[key], together[key]) for key in alone)


def test_a_stream_that_changes_is_refused(splits, tokenizer):
    sizes = iter([12, 12, 11, 12])

    def rows():
        yield from splits["train"].select(range(next(sizes)))

    stream = datasets.IterableDataset.from_generator(rows, features=splits["train"].features)
    pairs = StreamedPairs(stream, tokenizer, TRANSFORM, 3, shuffle_buffer=100)
    with pytest.raises(ValueError, match="had 24 caption-image pairs and has 22 in epoch 1"):
        list(pairs.batches(8, 9))


@pytest.mark.parametrize(
    ("captions", "message"),
    [([["a man"], ["red", " "]], "training row 1 has a blank caption"), ([[], []], "has no captions")],
)
def test_captions_are_checked_before_training(splits, tokenizer, captions, message):
    rows = splits["train"].select([0, 1]).remove_columns("captions").add_column("captions", captions)
    rows = rows.cast_column("captions", datasets.List(datasets.Value("string")))
    with pytest.raises(ValueError, match=message):
        StreamedPairs(rows.to_iterable_dataset(), tokenizer, TRANSFORM, 0, 10)


def test_a_stream_without_columns_is_refused(tokenizer):
    stream = datasets.IterableDataset.from_generator(lambda: iter([{"image": None}]))
    with pytest.raises(ValueError, match="does not know its columns; give it with features"):
        StreamedPairs(stream, tokenizer, TRANSFORM, 0, 10)


def test_an_image_that_cannot_be_decoded_is_named(splits, tokenizer):
    rows = splits["train"].cast_column("image", datasets.Image(decode=False)).to_list()
    rows[2]["image"]["bytes"] = b"no picture"
    bad = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    pairs = StreamedPairs(bad.to_iterable_dataset(), tokenizer, TRANSFORM, 3, 100)
    with pytest.raises(OSError, match="'4_0.png' .training row 2. cannot be read"):
        list(pair_loader(pairs, pairs.batches(24, 1), 0, num_workers=0))


def test_the_first_rows_of_a_stream_are_those_of_the_table(splits):
    table = splits["train"]
    stream = table.to_iterable_dataset()
    for count in (5, 100):
        expected, found = first_rows(table, count), first_rows(stream, count)
        assert len(expected) == min(count, 12)
        assert found.features == table.features
        assert found.to_list() == expected.to_list()


def test_folder_parquet_and_stream_end_with_the_same_weights(make_args, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder, shards = make_folder("custom", tmp_path / "people"), tmp_path / "shards"
    convert_to_parquet(load_person_search("custom", folder, None), shards, source="custom", rows_per_shard=3)

    def final(**source):
        run = {"output_dir": str(tmp_path / "run"), "overwrite_output_dir": True, "direct": True, "eval_steps": 9}
        text = {"stage_two_objectives": "sdm,id", "augment_text": "deletion=0.2,mask=0.1"}
        trainer = TwoStageTrainer(make_args(**run, **text, stage_two_max_steps=5, **source))
        trainer.runner.log = trainer.run.create(trainer.args)
        trainer.stage_two()
        return trainer.model.state_dict()

    expected = final(dataset="custom", data_dir=str(folder))
    stream = {"dataset": "parquet", "data_dir": str(shards), "streaming": True}
    for source in ({"dataset": str(shards), "num_workers": 1}, stream, {**stream, "num_workers": 2}):
        found = final(**source)
        assert all(torch.equal(expected[key], found[key]) for key in expected), source
    windows = final(**stream, shuffle_buffer=5)
    assert any(not torch.equal(expected[key], windows[key]) for key in expected)


def test_a_stream_goes_through_both_stages(make_args, splits):
    stream = {**splits, "train": splits["train"].to_iterable_dataset()}
    trainer = TwoStageTrainer(make_args(prompt_init="activations", shuffle_buffer=10), splits=stream)
    trainer.train()
    assert (trainer.run.plots / "training_set.png").exists()
    assert trainer.run.model.exists()
