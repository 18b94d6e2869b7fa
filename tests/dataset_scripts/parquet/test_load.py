"""What is loaded is what was converted, as a table or streamed, and nothing that was edited or is incomplete."""

import json
import os
import shutil
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataset_scripts import load_person_search
from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES
from dataset_scripts.parquet import convert_to_parquet, is_parquet_folder, load_parquet
from dataset_scripts.parquet.manifest import MANIFEST

SHARD = "data/train-00001-of-00003.parquet"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def edit_one_byte(shard: Path) -> None:
    """Changes a byte inside a stored image, and hides it from whoever looks at size and time of change only."""
    before = shard.stat()
    content = bytearray(shard.read_bytes())
    image = pq.read_table(shard)["image"][0]["bytes"].as_py()
    content[content.index(image[200:240])] ^= 1
    shard.write_bytes(content)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))


def rewrite(shard: Path, captions: list[str]) -> None:
    """Gives every row of a shard other captions, as a careless script would."""
    table = pq.read_table(shard)
    column = pa.array([captions] * table.num_rows, table.schema.field("captions").type)
    pq.write_table(table.set_column(table.schema.get_field_index("captions"), "captions", column), shard)


@pytest.mark.parametrize("streaming", [False, True])
def test_the_same_rows_in_the_same_order(splits, converted_once, cache, streaming):
    loaded = load_parquet(converted_once, streaming=streaming, cache_dir=cache)
    kinds = (
        (datasets.IterableDatasetDict, datasets.IterableDataset)
        if streaming
        else (datasets.DatasetDict, datasets.Dataset)
    )
    assert isinstance(loaded, kinds[0]) and list(loaded) == list(splits)
    for split, dataset in splits.items():
        assert isinstance(loaded[split], kinds[1])
        assert loaded[split].features == PERSON_SEARCH_FEATURES
        assert list(loaded[split]) == list(dataset)
    one = load_person_search("parquet", converted_once, "test", streaming=streaming, cache_dir=cache)
    assert list(one) == list(splits["test"])


def test_a_second_call_builds_nothing(converted_once, cache, monkeypatch):
    load_parquet(converted_once, "test", cache_dir=cache)
    tables = {path: path.stat().st_mtime_ns for path in cache.rglob("*.arrow")}
    monkeypatch.setattr("dataset_scripts.parquet.load.check_file", None)
    assert len(load_parquet(converted_once, "test", cache_dir=cache)) == 4
    assert tables and tables == {path: path.stat().st_mtime_ns for path in cache.rglob("*.arrow")}


def test_an_edited_shard_is_refused_even_with_a_table_in_the_cache(converted, cache):
    load_parquet(converted, cache_dir=cache)
    edit_one_byte(converted / SHARD)
    with pytest.raises(OSError, match=r"train-00001-of-00003\.parquet has changed .* run prompt-clip data convert"):
        load_parquet(converted, "train", cache_dir=cache)
    assert len(load_parquet(converted, "test", cache_dir=cache)) == 4


def test_a_stream_stops_at_an_edited_page(converted):
    edit_one_byte(converted / SHARD)
    rows = iter(load_parquet(converted, "train", streaming=True))
    assert len([next(rows) for _ in range(5)]) == 5
    with pytest.raises(OSError, match=r"train-00001-of-00003\.parquet is damaged .*CRC"):
        next(rows)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_rewritten_or_missing_shard_is_refused(converted, cache, streaming):
    rewrite(converted / SHARD, ["something else"])
    with pytest.raises(OSError, match=r"train-00001-of-00003\.parquet has changed"):
        load_parquet(converted, streaming=streaming, cache_dir=cache)
    (converted / SHARD).unlink()
    with pytest.raises(FileNotFoundError, match=r"train-00001-of-00003\.parquet is missing. Run prompt-clip data"):
        load_parquet(converted, streaming=streaming, cache_dir=cache)


def test_a_shard_cut_short_or_added_is_refused(converted, converted_once, cache):
    shutil.copy(converted / SHARD, converted / "data" / "train-00003-of-00003.parquet")
    with pytest.raises(ValueError, match=r"train-00003-of-00003\.parquet, which conversion\.json does not list"):
        load_parquet(converted, cache_dir=cache)
    (converted / "data" / "train-00003-of-00003.parquet").unlink()
    content = (converted / SHARD).read_bytes()
    (converted / SHARD).write_bytes(content[:-4] + b"XXXX")
    with pytest.raises(OSError, match=r"train-00001-of-00003\.parquet is damaged"):
        load_parquet(converted, cache_dir=cache)


def test_the_source_and_its_terms_stay_with_the_rows(splits, converted_once, cache, tmp_path):
    for streaming in (False, True):
        info = load_parquet(converted_once, "train", streaming=streaming, cache_dir=cache).info
        assert (info.dataset_name, info.license) == ("synthetic_pedes", "Apache-2.0")
    again = load_parquet(converted_once, cache_dir=cache)
    convert_to_parquet(again, tmp_path / "again", source="synthetic_pedes", rows_per_shard=5)
    for path in converted_once.rglob("*.*"):
        if path.is_file() and path.name != ".lock":
            assert (tmp_path / "again" / path.relative_to(converted_once)).read_bytes() == path.read_bytes()


def test_a_name_with_brackets(splits, converted, tmp_path, cache):
    folder = converted.rename(tmp_path / "set [1] *")
    for streaming in (False, True):
        rows = load_parquet(folder, "train", streaming=streaming, cache_dir=cache)
        assert list(rows) == list(splits["train"])


class TestFoldersOfOthers:
    @pytest.fixture
    def theirs(self, splits: datasets.DatasetDict, tmp_path: Path) -> Path:
        """Files that plain `datasets` wrote, with a column more, another order and smaller integers."""
        folder = tmp_path / "theirs"
        rows = splits["train"].cast_column("image", datasets.Image())
        rows = rows.cast_column("person_id", datasets.Value("int32")).add_column("weather", ["dry"] * len(rows))
        rows = rows.select_columns(["weather", *reversed(PERSON_SEARCH_FEATURES)])
        folder.mkdir()
        for number in range(2):
            rows.shard(2, number).to_parquet(folder / f"train-0000{number}-of-00002.parquet")
        return folder

    @pytest.mark.parametrize("streaming", [False, True])
    def test_they_load(self, splits, theirs, cache, streaming):
        assert is_parquet_folder(theirs)
        rows = load_parquet(theirs, "train", streaming=streaming, cache_dir=cache)
        assert rows.features == PERSON_SEARCH_FEATURES and rows.column_names == list(PERSON_SEARCH_FEATURES)
        assert list(rows) == list(splits["train"])

    def test_an_edited_file_is_never_served_from_the_cache(self, theirs, cache):
        file = theirs / "train-00001-of-00002.parquet"
        load_parquet(theirs, "train", cache_dir=cache)
        before = file.stat()
        rewrite(file, ["something else"])
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert load_parquet(theirs, "train", cache_dir=cache)[-1]["captions"] == ["something else"]

    def test_an_incomplete_copy_is_refused(self, theirs, cache):
        (theirs / "train-00000-of-00002.parquet").unlink()
        with pytest.raises(ValueError, match="has 1 of 2 train shards"):
            load_parquet(theirs, cache_dir=cache)

    @pytest.mark.parametrize(
        ("column", "value", "word"),
        [
            ("camera", None, r"has no column camera \(it has image_id, person_id, captions, image\)"),
            ("captions", "a", "column captions is of type string, but must be a list of texts"),
            ("person_id", 0.5, "column person_id is of type double, but must be a whole number"),
            ("image", 1, "column image is of type int64, but must be the bytes"),
            ("image_id", 1, "column image_id is of type int64, but must be text"),
            ("camera", 1, "column camera is of type int64, but must be text or null"),
        ],
    )
    def test_wrong_columns_are_named(self, theirs, cache, column, value, word):
        file = theirs / "train-00001-of-00002.parquet"
        columns = {
            name: pq.read_table(file)[name] for name in ("image_id", "person_id", "captions", "camera", "image")
        }
        columns[column] = pa.array([value] * 6)
        pq.write_table(pa.table({name: values for name, values in columns.items() if values[0].is_valid}), file)
        with pytest.raises(ValueError, match=rf"train-00001-of-00002\.parquet:? {word}"):
            load_parquet(theirs, cache_dir=cache)

    @pytest.mark.parametrize("streaming", [False, True])
    def test_an_image_that_cannot_be_decoded_is_named(self, tmp_path, cache, streaming):
        row = {"image": {"bytes": b"broken", "path": "p7/2.jpg"}, "image_id": "p7/2.jpg", "person_id": 1}
        table = pa.Table.from_pylist([{**row, "captions": ["a"], "camera": None}])
        pq.write_table(table, tmp_path / "train.parquet")
        rows = load_parquet(tmp_path, "train", streaming=streaming, cache_dir=cache)
        with pytest.raises(OSError, match=r"image p7/2\.jpg cannot be decoded"):
            next(iter(rows))

    def test_a_person_id_beyond_64_bits(self, tmp_path, cache):
        row = {"image": b"", "image_id": "a", "captions": ["a"], "camera": "c"}
        table = pa.Table.from_pylist([row]).append_column("person_id", pa.array([2**63], pa.uint64()))
        pq.write_table(table, tmp_path / "train.parquet")
        with pytest.raises(ValueError, match=r"train.parquet, row 0: 'person_id' is 9223372036854775808"):
            load_parquet(tmp_path, "train", cache_dir=cache)


def test_what_is_no_such_folder(converted_once, tmp_path):
    for folder, split, error, word in [
        (None, None, ValueError, "data_dir, but it is None"),
        (tmp_path / "none", None, FileNotFoundError, "is no folder"),
        (tmp_path, None, FileNotFoundError, "has no Parquet file of a split"),
        (converted_once, "val", ValueError, "no split 'val', but train, validation, test. Did you mean 'validation'"),
    ]:
        with pytest.raises(error, match=word):
            load_parquet(folder, split)


def test_which_folders_are_parquet(converted_once, tmp_path):
    assert is_parquet_folder(str(converted_once))
    assert not is_parquet_folder(tmp_path)
    assert not is_parquet_folder(tmp_path / "none")
    (tmp_path / "gallery.parquet").touch()
    assert not is_parquet_folder(tmp_path)


TEST_SHARD = "data/test-00000-of-00001.parquet"


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("shards", TEST_SHARD), None, "it is complete and lacks a shard"),
        (("splits",), {}, "its splits and its shards do not agree on 'test'"),
        (("splits", "gallery"), {}, "missing .* required"),
        (("shards", TEST_SHARD, "rows"), "4", "its rows is '4', and no int"),
        (("source", "terms"), ["Apache-2.0"], r"its terms is \['Apache-2.0'\], and no str"),
        (("source", "name"), None, "its name is None, and no str"),
        (("complete",), "no", "its complete is 'no', neither true nor false"),
    ],
)
def test_a_record_that_denies_itself_is_refused(converted, place, value, words):
    record = json.loads((converted / MANIFEST).read_text())
    inner = record
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    (converted / MANIFEST).write_text(json.dumps(record))
    with pytest.raises(ValueError, match=rf"conversion\.json is no record of a conversion .*{words}"):
        load_parquet(converted, "train")


def test_a_record_that_is_nested_without_end_is_refused(converted):
    (converted / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(ValueError, match="no record of a conversion"):
        load_parquet(converted, "train")


def test_processes_build_the_table(splits, converted_once, cache):
    loaded = load_person_search("parquet", converted_once, "train", cache_dir=cache, num_proc=2)
    assert list(loaded) == list(splits["train"])
    assert len({path.name for path in cache.rglob("*train*.arrow")}) == 2
    with pytest.raises(ValueError, match="num_proc is 2, but a stream builds no table"):
        load_person_search("parquet", converted_once, "train", streaming=True, num_proc=2)


def test_a_set_without_validation_split(converted, cache):
    (converted / "conversion.json").unlink()
    for shard in converted.glob("data/validation*"):
        shard.unlink()
    with pytest.raises(ValueError, match=r"no split 'validation', but train, test\. .*--split test\.$"):
        load_person_search("parquet", converted, "validation", cache_dir=cache)
