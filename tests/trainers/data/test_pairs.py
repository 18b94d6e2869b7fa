import itertools
from collections import Counter
from fractions import Fraction

import datasets
import pytest
import torch
from datasets import Image
from transformers import CLIPTokenizer

from trainers.data.pairs import CaptionPairs, PairCollator, pair_loader
from trainers.transforms.captions import TextAugmentation
from trainers.transforms.images import TrainingTransform


@pytest.fixture(scope="module")
def tokenizer(tiny_clip_folder):
    return CLIPTokenizer.from_pretrained(tiny_clip_folder)


@pytest.fixture(scope="module")
def pairs(splits, tokenizer):
    transform = TrainingTransform((96, 32), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    return CaptionPairs(splits["train"], tokenizer, transform, seed=3)


def test_one_row_for_each_caption_with_its_image_and_person(pairs, splits, tokenizer):
    assert len(pairs) == 24
    for row in range(len(pairs)):
        record, pair = splits["train"][row // 2], pairs[0, row]
        assert pair["person_id"] == record["person_id"]
        assert pair["input_ids"] == tokenizer(record["captions"][row % 2])["input_ids"]
        assert pair["pixel_values"].shape == (3, 96, 32)


def test_labels_are_made_by_sorting(pairs):
    assert pairs.num_identities == 6
    assert [pairs.label_of[person_id] for person_id in sorted(pairs.label_of)] == list(range(6))


def test_augmentation_hangs_on_epoch_and_row_alone(pairs):
    assert torch.equal(pairs[1, 5]["pixel_values"], pairs[1, 5]["pixel_values"])
    views = [pairs[epoch, 5]["pixel_values"] for epoch in range(4)]
    assert any(not torch.equal(views[0], view) for view in views[1:])


def test_worker_count_does_not_change_the_data(pairs, tokenizer):
    def batches(workers):
        return list(pair_loader(pairs, pairs.batches(4, num_steps=8), tokenizer.pad_token_id, workers))

    for alone, together in zip(batches(0), batches(2), strict=True):
        assert all(torch.equal(alone[key], together[key]) for key in alone)


def test_augmented_captions_leave_the_kept_tokens_and_the_images_as_they_are(splits, tokenizer, pairs):
    augment = TextAugmentation({"deletion": 0.5, "mask": 0.3}, tokenizer)
    augmented = CaptionPairs(splits["train"], tokenizer, pairs.augmenter.transform, 3, augment)
    changed = 0
    for epoch, row in itertools.product(range(3), range(len(pairs))):
        clean, other = pairs[epoch, row], augmented[epoch, row]
        assert torch.equal(clean["pixel_values"], other["pixel_values"])
        assert other["input_ids"] == augment(clean["input_ids"], 3, epoch, row)
        changed += other["input_ids"] != clean["input_ids"]
    assert changed > 40
    assert augmented.tokens["input_ids"][:] == pairs.tokens["input_ids"][:]


def test_captions_are_padded_to_the_longest_of_the_batch():
    def pair(*ids):
        return {
            "input_ids": list(ids),
            "pixel_values": torch.zeros(3, 2, 2),
            "person_id": 7,
            "label": 0,
            "image_row": 1,
        }

    batch = PairCollator(pad_token_id=9)([pair(1, 2, 3), pair(1, 3)])
    assert batch["input_ids"].tolist() == [[1, 2, 3], [1, 3, 9]]
    assert batch["person_ids"].tolist() == [7, 7]
    assert batch["image_ids"].tolist() == [1, 1]


def sampled(splits, tokenizer, sampling: str, num_instances: int = 4) -> CaptionPairs:
    return CaptionPairs(splits["train"], tokenizer, None, seed=3, sampling=sampling, num_instances=num_instances)


def test_a_batch_holds_persons_with_several_pairs_each(splits, tokenizer):
    pairs = sampled(splits, tokenizer, "identity", num_instances=2)
    assert pairs.batches_per_epoch(4, 2) == 3
    ranks = [list(pairs.batches(4, 6, rank, 2)) for rank in range(2)]
    for left, right in zip(*ranks, strict=True):
        persons = Counter(pairs.person_ids[pairs.image_rows[row]] for _, row in left + right)
        assert sorted(persons.values()) == [2, 2, 2, 2]
    for epoch in range(2):  # four pairs a person: nothing comes twice
        seen = [row for rank in ranks for batch in rank[3 * epoch : 3 * epoch + 3] for _, row in batch]
        assert sorted(seen) == list(range(24))


def test_a_batch_holds_captions_of_about_one_length(splits, tokenizer):
    pairs = sampled(splits, tokenizer, "length")
    lengths = [len(pairs.tokens[row // 2]["input_ids"][row % 2]) for row in range(24)]
    batches = list(pairs.batches(8, 3))
    assert len({max(lengths[row] for _, row in batch) for batch in batches}) > 1
    spread = [max(lengths[row] for _, row in batch) - min(lengths[row] for _, row in batch) for batch in batches]
    shuffled = [
        max(lengths[row] for _, row in batch) - min(lengths[row] for _, row in batch)
        for batch in sampled(splits, tokenizer, "shuffle").batches(8, 3)
    ]
    assert sum(spread) < sum(shuffled)
    assert sorted(row for batch in batches for _, row in batch) == list(range(24))


@pytest.mark.parametrize("sampling", ["shuffle", "length"])
def test_an_epoch_need_not_be_whole_batches(splits, tokenizer, sampling):
    pairs = sampled(splits, tokenizer, sampling)
    assert pairs.batches_per_epoch(5, 2) == Fraction(24, 10)
    with pytest.raises(ValueError, match="batch_size 13 on 2 process.*26 caption-image pairs.*24; lower batch_size"):
        pairs.batches_per_epoch(13, 2)


def test_a_batch_that_persons_do_not_fill_is_refused(splits, tokenizer):
    with pytest.raises(ValueError, match="num_instances 4 does not divide the 10 rows .* over all processes"):
        sampled(splits, tokenizer, "identity").batches_per_epoch(5, 2)
    with pytest.raises(ValueError, match="needs 8 persons and the split has 6; lower batch_size"):
        sampled(splits, tokenizer, "identity").batches(16, 1, world_size=2)


def test_a_blank_caption_is_refused_with_its_row(splits, tokenizer, pairs):
    split = splits["train"]
    captions = list(split["captions"])
    captions[3] = ["a man", "  "]
    blank = split.remove_columns("captions").add_column("captions", captions)
    with pytest.raises(ValueError, match="training row 3 has a blank caption"):
        CaptionPairs(blank, tokenizer, pairs.augmenter.transform, seed=0)


def test_an_image_that_breaks_in_training_is_named(splits, tokenizer, pairs):
    def broken(image, generator):
        raise OSError("image file is truncated")

    bad = CaptionPairs(splits["train"], tokenizer, broken, seed=0)
    with pytest.raises(OSError, match="'5_0.png' .training row 0. cannot be read: image file is truncated"):
        bad[0, 0]


def test_an_image_that_cannot_be_decoded_is_named(splits, tokenizer, pairs):
    rows = splits["train"].cast_column("image", Image(decode=False)).to_list()
    rows[2]["image"]["bytes"] = b"no picture"
    bad = datasets.Dataset.from_list(rows).cast_column("image", Image())
    with pytest.raises(OSError, match="'4_0.png' .training row 2. cannot be read"):
        CaptionPairs(bad, tokenizer, pairs.augmenter.transform, seed=0)[0, 4]


def test_a_split_without_captions_is_refused(splits, tokenizer, pairs):
    for empty in (
        splits["train"].select([]),
        splits["train"].select([0]).remove_columns("captions").add_column("captions", [[]]),
    ):
        with pytest.raises(ValueError, match="the training split has no captions"):
            CaptionPairs(empty, tokenizer, pairs.augmenter.transform, seed=0)
