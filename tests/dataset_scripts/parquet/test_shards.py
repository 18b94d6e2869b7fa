"""The hash of rows sees every field, and every way in which content can move between them."""

import itertools

from dataset_scripts.parquet.shards import RowHash

ROW = {
    "image": {"bytes": b"abc", "path": "x"},
    "image_id": "p/1",
    "person_id": 1,
    "captions": ["a", "b"],
    "camera": "c",
}


def row_hash(*rows: dict) -> str:
    content = RowHash()
    content.update(rows)
    return content.hexdigest()


def test_every_change_shows():
    changes = [
        {},
        {"image": {"bytes": b"abd", "path": "x"}},
        {"image": {"bytes": b"", "path": "x"}},
        {"image_id": "p/2"},
        {"person_id": 2},
        {"captions": ["a"]},
        {"captions": ["ab"]},
        {"captions": ["a", "b", ""]},
        {"captions": ["b", "a"]},
        {"camera": None},
        {"camera": "None"},
    ]
    hashes = [row_hash({**ROW, **change}) for change in changes]
    assert all(one != other for one, other in itertools.combinations(hashes, 2))


def test_order_and_number_count_but_not_batches_or_paths():
    other = {**ROW, "person_id": 2}
    assert len({row_hash(ROW, other), row_hash(other, ROW), row_hash(ROW), row_hash(ROW, ROW), row_hash()}) == 5
    in_batches = RowHash()
    in_batches.update([ROW])
    in_batches.update([{**other, "image": {"bytes": b"abc", "path": None}}])
    assert in_batches.hexdigest() == row_hash(ROW, other)
