"""The card of a conversion: what machines read of it, and what it must say to people."""

import dataclasses
import re

import datasets
import pytest
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt
from PIL import Image

from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES
from dataset_scripts.parquet.card import dataset_card
from dataset_scripts.parquet.manifest import DataSource, Manifest, Settings, ShardRecord, SplitRecord


@pytest.fixture
def manifest() -> Manifest:
    shard = ShardRecord(3, 1000, 900, "a" * 64, "b" * 64, "b" * 64)
    return Manifest(
        source=DataSource("synthetic_pedes", "Drawn by code.", "Apache-2.0"),
        settings=Settings(None, None, 3, "26.0.1", None),
        splits={"train": SplitRecord(4, 6, 12_000, 0, "c" * 64), "test": SplitRecord(1, 3, 3, 2, "d" * 64)},
        shards={
            "data/train-00000-of-00002.parquet": shard,
            "data/train-00001-of-00002.parquet": shard,
            "data/test-00000-of-00001.parquet": shard,
        },
    )


@pytest.fixture
def closed(manifest) -> Manifest:
    source = DataSource("cuhk_pedes", "People.", "Academic use only.", "https://example.org/cuhk", "@misc{li}")
    return dataclasses.replace(manifest, source=source, settings=Settings((384, 128), 90, 3, "26.0.1", "13.0.0"))


def test_machines_read_it(manifest):
    card = DatasetCard(dataset_card(manifest))
    assert card.data.license == "apache-2.0"
    assert card.data.configs[0]["data_files"] == [
        {"split": "train", "path": "data/train-*"},
        {"split": "test", "path": "data/test-*"},
    ]
    info = DatasetInfosDict.from_dataset_card_data(card.data)["default"]
    assert info.features == {**PERSON_SEARCH_FEATURES, "image": datasets.Image(mode="RGB")}
    assert {name: (split.num_examples, split.num_bytes) for name, split in info.splits.items()} == {
        "train": (6, 1800),
        "test": (3, 900),
    }
    assert (info.download_size, info.dataset_size) == (3000, 2700)


def test_people_read_the_counts(manifest):
    text = dataset_card(manifest)
    assert "| train | 4 | 6 | 12,000 | not told | 2 |" in text
    assert "| test | 1 | 3 | 3 | 2 | 1 |" in text


def test_terms_that_let_nobody_publish(closed, manifest):
    card = DatasetCard(dataset_card(closed))
    assert (card.data.license, card.data.license_name) == ("other", "cuhk-pedes-terms")
    assert card.data.license_link == "https://example.org/cuhk"
    assert "Academic use only. Source: <https://example.org/cuhk>.\n\n**Do not publish this set" in card.text
    assert "@misc{li}" in card.text
    assert "Do not publish" not in dataset_card(manifest)
    unknown = dataclasses.replace(closed, source=DataSource("custom"))
    assert "The source states none: find them out before you use the set." in dataset_card(unknown)
    assert "license_link" not in dataset_card(unknown)


def test_what_was_done_to_the_images(closed, manifest):
    assert "Images are the files of the source, unchanged." in dataset_card(manifest)
    text = " ".join(dataset_card(closed).split())
    assert "resized once to 384x128 pixels" in text and "JPEG of quality 90" in text
    assert "evaluation splits included" in text and "differ slightly from those on the original files" in text


def test_it_is_whole_and_says_what_it_must_not_be_used_for(closed, manifest):
    for text in (dataset_card(closed), dataset_card(manifest)):
        body = DatasetCard(text).text
        headings = re.findall(r"^## (.*)$", body, flags=re.MULTILINE)
        assert headings[:4] == ["Terms", "What is in it", "How to load it", "What it must not be used for"]
        assert "without a legal basis" in body and "surveillance" in body and "delete them on request" in body
        assert not re.search(r"[{}]|TODO|More Information Needed|None|\[\]", body.partition("## Citation")[0])
        assert "\n\n\n" not in body


def test_its_lines_of_python_run(manifest, tmp_path, monkeypatch):
    """In the folder of a conversion."""
    from dataset_scripts.parquet import convert_to_parquet

    row = {"image_id": "a", "person_id": 1, "captions": ["a"], "camera": None}
    stored = Image.new("RGB", (4, 8))
    rows = datasets.Dataset.from_list([{**row, "image": stored}] * 2, features=PERSON_SEARCH_FEATURES)
    convert_to_parquet({"train": rows}, tmp_path / "set", source="custom")
    monkeypatch.chdir(tmp_path / "set")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    snippets = re.findall(r"```python\n(.*?)```", (tmp_path / "set" / "README.md").read_text(), flags=re.DOTALL)
    names = {}
    for snippet in snippets:
        exec(snippet, names)
    assert names["splits"]["train"].num_rows == 2
    assert isinstance(names["train"], datasets.IterableDataset)


def test_an_unfinished_conversion_has_no_card(manifest):
    manifest.shards["data/test-00000-of-00001.parquet"] = None
    with pytest.raises(ValueError, match=r"test-00000-of-00001\.parquet is not finished"):
        dataset_card(manifest)


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "a\n---\nlicense: mit\n---\n# b",
        "x | y\n|---|",
        "```\n# out\n```",
        "# heading",
        "{0} {name} {{ x }}",
        "https://x> <b>",
    ],
)
def test_hostile_names_change_neither_structure_nor_metadata(closed, name):
    def card(told):
        split = closed.splits["train"]
        source = DataSource(told, told, told, told, told)
        return DatasetCard(dataset_card(dataclasses.replace(closed, source=source, splits={told: split})))

    def structure(text):
        return [token.type for token in MarkdownIt("commonmark").enable("table").parse(text)]

    hostile, plain = card(name), card("plain")
    assert structure(hostile.text) == structure(plain.text)
    assert "<script" not in hostile.text.partition("## Citation")[0] and "<b>" not in hostile.text.split("## Cit")[0]
    assert hostile.data.license == "other" and hostile.data.pretty_name == " ".join(name.split())
    assert re.fullmatch(r"[a-z0-9.-]+", hostile.data.license_name)
    assert hostile.data.configs[0]["data_files"][0]["split"] == name
