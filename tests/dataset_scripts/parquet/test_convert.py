"""What a conversion writes, that it is the same every time, and that it survives being killed."""

import dataclasses
import hashlib
import json
import os
import signal
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from PIL import ExifTags, Image, JpegImagePlugin

from dataset_scripts.builders.image_features import PersonImage
from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES
from dataset_scripts.parquet import convert_to_parquet, load_parquet
from dataset_scripts.parquet.manifest import MANIFEST, Manifest
from dataset_scripts.parquet.shards import verify_shard, write_shard

SHARDS = [
    "data/train-00000-of-00003.parquet",
    "data/train-00001-of-00003.parquet",
    "data/train-00002-of-00003.parquet",
    "data/validation-00000-of-00001.parquet",
    "data/test-00000-of-00001.parquet",
]


def convert(splits: datasets.DatasetDict, folder: Path, **settings: object) -> Manifest:
    return convert_to_parquet(splits, folder, **{"source": "synthetic_pedes", "rows_per_shard": 5, **settings})


def contents(folder: Path) -> dict[str, bytes]:
    """All that a conversion leaves, but the lock."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def stored_rows(folder: Path, split: str) -> list[dict]:
    return [row for file in sorted(folder.glob(f"data/{split}-*")) for row in pq.read_table(file).to_pylist()]


def source_rows(dataset: datasets.Dataset) -> list[dict]:
    """The rows as a naive loop reads them: image files as they are."""
    rows = []
    for row in dataset.cast_column("image", datasets.Image(decode=False)):
        stored = row["image"]["bytes"] or Path(row["image"]["path"]).read_bytes()
        rows.append({**row, "image": {"bytes": stored, "path": row["image_id"]}})
    return rows


def pixels(dataset: datasets.Dataset) -> list[dict]:
    """The rows with decoded images, of whatever Pillow class."""
    return [{**row, "image": (row["image"].mode, row["image"].size, row["image"].tobytes())} for row in dataset]


def small_set(folder: Path) -> datasets.DatasetDict:
    """Image files of the kinds that a real set has: colour JPEG, grey PNG, palette PNG, and one turned by EXIF."""
    folder.mkdir()
    noise = Image.effect_noise((30, 80), 90)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.merge("RGB", [noise, noise.rotate(90), noise.rotate(180)]).save(
        folder / "0.jpg", comment=b"camera 7, hall B"
    )
    noise.save(folder / "1.png")
    noise.convert("P").save(folder / "2.png")
    noise.save(folder / "3.jpg", exif=exif)
    rows = [
        {"image": str(path), "image_id": path.name, "person_id": person, "captions": ["a", "ü"], "camera": None}
        for path, person in zip(sorted(folder.iterdir()), [7, 7, 7, 8], strict=True)
    ]
    train = datasets.Dataset.from_list(rows[:3], features=PERSON_SEARCH_FEATURES)
    return datasets.DatasetDict(
        train=train, test=datasets.Dataset.from_list(rows[3:], features=PERSON_SEARCH_FEATURES)
    )


def test_rows_go_in_unchanged_and_in_order(splits, converted_once):
    manifest = Manifest.read(converted_once)
    assert manifest.complete and list(manifest.shards) == SHARDS
    assert [record.rows for record in manifest.shards.values()] == [5, 5, 2, 4, 4]
    assert sorted(contents(converted_once)) == sorted([*SHARDS, "README.md", "conversion.json"])
    for split, dataset in splits.items():
        assert stored_rows(converted_once, split) == source_rows(dataset)


def test_image_files_of_a_folder_go_in_as_they_are(tmp_path):
    source = small_set(tmp_path / "images")
    convert(source, tmp_path / "set")
    for split, dataset in source.items():
        assert stored_rows(tmp_path / "set", split) == source_rows(dataset)


def test_the_record_tells_the_truth(splits, converted_once):
    manifest = Manifest.read(converted_once)
    for split, dataset in splits.items():
        record = manifest.splits[split]
        assert record.images == len(dataset)
        assert record.persons == len(set(dataset["person_id"]))
        assert record.captions == sum(map(len, dataset["captions"]))
        assert record.cameras == len(set(dataset["camera"]))
    for name, record in manifest.shards.items():
        content = (converted_once / name).read_bytes()
        assert (record.file_bytes, record.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert str(converted_once.parent) not in json.dumps(manifest.to_dict())


def test_others_load_it_without_this_package(splits, converted, tmp_path):
    """By the folder's card, and by the schema of the files alone."""
    by_card = datasets.load_dataset(str(converted), cache_dir=str(tmp_path / "cache"))
    by_schema = datasets.load_dataset("parquet", data_dir=str(converted / "data"), cache_dir=str(tmp_path / "cache"))
    for loaded in (by_card, by_schema):
        assert sorted(loaded) == ["test", "train", "validation"]
        assert loaded["train"].features == {**PERSON_SEARCH_FEATURES, "image": datasets.Image(mode="RGB")}
        for split, dataset in splits.items():
            assert pixels(loaded[split]) == pixels(dataset)


def test_several_processes_write_the_same_bytes(splits, converted_once, tmp_path):
    convert(splits, tmp_path / "set", num_proc=2)
    assert contents(tmp_path / "set") == contents(converted_once)


def test_every_split_is_resized_once_by_the_training_filter(tmp_path):
    source = small_set(tmp_path / "images")
    convert(source, tmp_path / "set", image_size=(48, 16), quality=80)
    for split, dataset in source.items():
        for stored, row in zip(stored_rows(tmp_path / "set", split), source_rows(dataset), strict=True):
            upright = PersonImage().decode_example(row["image"])
            expected = BytesIO()
            upright.resize((16, 48), Image.Resampling.BICUBIC).save(expected, "JPEG", quality=80, subsampling=0)
            with Image.open(BytesIO(stored["image"]["bytes"])) as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (16, 48))
                assert JpegImagePlugin.get_sampling(image) == 0
                assert "comment" not in image.info and not image.getexif()
                assert list(image.getdata()) == list(Image.open(expected).getdata())
            assert {**stored, "image": None} == {**row, "image": None}


def test_killed_at_any_instant_it_goes_on(splits, converted_once, tmp_path, monkeypatch):
    """A child is killed before its n-th step that reaches the disk; the next call must end at the same bytes."""
    expected, written = contents(converted_once), []
    monkeypatch.setattr(
        "dataset_scripts.parquet.convert.write_shard", lambda *call: written.append(call) or write_shard(*call)
    )
    steps = 3 * (1 + 2 * len(SHARDS) + 2)  # record, each shard and the record again, card, record
    for number in range(0, steps - 1, 4):
        folder = tmp_path / str(number)
        status = _run_and_kill(lambda folder=folder: convert(splits, folder), number)
        assert os.WTERMSIG(status) == signal.SIGKILL
        if (folder / "conversion.json").exists():
            with pytest.raises(ValueError, match=r"not finished: \d of 5 shards are missing"):
                load_parquet(folder)
        written.clear()
        convert(splits, folder)
        assert contents(folder) == expected
        assert len(written) == 5 - min(5, max(0, (number - 2) // 6))


def _run_and_kill(function: Callable[[], object], number: int) -> int:
    """Runs `function` in a child that is killed before its call number `number` to fsync or rename."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    calls = iter(range(number, -1, -1))
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        setattr(os, name, lambda *a, real=real: os.kill(os.getpid(), signal.SIGKILL) if next(calls) == 0 else real(*a))
    function()
    os._exit(0)


def test_a_second_call_checks_and_leaves_the_rest(splits, converted):
    (converted / "README.md").write_text("edited by hand")
    before = contents(converted)
    stamps = {path: path.stat().st_mtime_ns for path in converted.rglob("*.parquet")}
    convert(splits, converted)
    assert contents(converted) == before
    assert stamps == {path: path.stat().st_mtime_ns for path in converted.rglob("*.parquet")}


def test_a_changed_shard_is_named_and_made_anew_once_deleted(splits, converted, converted_once):
    shard = converted / SHARDS[1]
    shard.write_bytes(shard.read_bytes()[:-1] + b"X")
    with pytest.raises(OSError, match=r"train-00001-of-00003\.parquet has changed .* Delete it and run"):
        convert(splits, converted)
    shard.unlink()
    convert(splits, converted)
    assert contents(converted) == contents(converted_once)


def test_rows_that_are_not_those_of_the_record_are_an_error(converted_once):
    name = SHARDS[0]
    record = Manifest.read(converted_once).shards[name]
    verify_shard(converted_once / name, record)
    for wrong in (dataclasses.replace(record, content_sha256="0" * 64), dataclasses.replace(record, rows=4)):
        with pytest.raises(OSError, match=r"train-00000-of-00003\.parquet does not hold the rows"):
            verify_shard(converted_once / name, wrong)


def test_image_files_that_change_between_two_calls_are_noticed(tmp_path):
    source = small_set(tmp_path / "images")
    convert(source, tmp_path / "set")
    Image.new("L", (30, 80)).save(tmp_path / "images" / "1.png")
    with pytest.raises(OSError, match=r"image files of the source have changed .*train-00000-of-00001\.parquet"):
        convert(source, tmp_path / "set")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"image_size": (96, 32)}, [r"image_size was None and is now \(96, 32\)", "quality was None and is now 95"]),
        ({"rows_per_shard": 4}, ["rows_per_shard was 5 and is now 4"]),
        ({"source": "cuhk_pedes"}, ["the source was 'synthetic_pedes' and is now 'cuhk_pedes'"]),
    ],
)
def test_other_settings_are_refused(splits, converted, changed, words):
    before = contents(converted)
    for word in [*words, "Convert into a new folder"]:
        with pytest.raises(ValueError, match=word):
            convert(splits, converted, **changed)
    assert contents(converted) == before


def test_other_rows_are_refused(splits, converted):
    caption_changed = splits["test"].map(lambda row: {"captions": [*row["captions"][:-1], "another"]})
    for other, word in [
        (datasets.DatasetDict({**splits, "test": caption_changed}), "test annotation_sha256 was"),
        (datasets.DatasetDict(train=splits["train"]), "the validation split is only in the folder"),
    ]:
        with pytest.raises(ValueError, match=word):
            convert(other, converted)


def test_a_folder_with_other_things_is_left_alone(splits, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds note\.txt and no conversion\.json"):
        convert(splits, tmp_path)
    assert contents(tmp_path) == {"note.txt": b"mine"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 9}'])
def test_a_damaged_record_is_named(splits, converted, text):
    (converted / "conversion.json").write_text(text)
    with pytest.raises(ValueError, match=r"conversion\.json is no record of a conversion"):
        convert(splits, converted)


def test_two_conversions_into_one_folder(splits, converted):
    with (
        FileLock(converted / ".lock"),
        pytest.raises(OSError, match="another process is converting into"),
    ):
        convert(splits, converted)


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"image_size": 384}, "image_size is 384, but must be a height and a width"),
        ({"image_size": (384, 0)}, "image_size's width is 0"),
        ({"image_size": (384.0, 128)}, r"image_size's height is 384\.0"),
        ({"image_size": (48, 16), "quality": 101}, "quality is 101: it must be an integer, 1 to 100"),
        ({"rows_per_shard": 0}, "rows_per_shard is 0: it must be an integer, at least 1"),
        ({"num_proc": True}, "num_proc is True"),
    ],
)
def test_settings_out_of_range(splits, tmp_path, setting, word):
    with pytest.raises((ValueError, TypeError), match=word):
        convert(splits, tmp_path / "set", **setting)
    assert not (tmp_path / "set").exists()


def test_splits_that_cannot_be_converted(splits, tmp_path):
    for wrong, word in [
        ({}, "splits is empty"),
        ({"dev": splits["test"]}, "split is 'dev', but must be one of train, validation, test"),
        ({"test": splits["test"].remove_columns(["camera", "captions"])}, "no column captions, camera"),
        ({"test": splits["test"].select([])}, "the test split has no rows"),
    ]:
        with pytest.raises(ValueError, match=word):
            convert(wrong, tmp_path / "set")


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    source = small_set(tmp_path / "images")
    (tmp_path / "images" / "1.png").unlink()
    with pytest.raises(OSError, match=r"image .*1\.png is missing"):
        convert(source, tmp_path / "set")
    (tmp_path / "images" / "1.png").write_bytes(b"broken")
    with pytest.raises(OSError, match=r"image 1\.png cannot be decoded"):
        convert(source, tmp_path / "other", image_size=(48, 16))
    without = [{"image": None, "image_id": "x", "person_id": 1, "captions": ["a"], "camera": None}]
    with pytest.raises(ValueError, match="image_id 'x' has no image"):
        rows = datasets.Dataset.from_list(without, features=PERSON_SEARCH_FEATURES)
        convert(datasets.DatasetDict(train=rows), tmp_path / "third")
    assert not list((tmp_path / "third").rglob("*.tmp"))


def test_images_resized_by_another_rule_are_not_mixed(splits, tmp_path):
    folder = tmp_path / "set"
    convert_to_parquet(splits, folder, source="synthetic_pedes", image_size=(32, 16))
    record = folder / MANIFEST
    content = json.loads(record.read_text())
    assert content["settings"].pop("reader") == 2  # which conversions of before did not have
    record.write_text(json.dumps(content))
    assert load_parquet(folder, "test", cache_dir=tmp_path / "cache")
    with pytest.raises(ValueError, match="reader was 1 and is now 2"):
        convert_to_parquet(splits, folder, source="synthetic_pedes", image_size=(32, 16))
