"""Damaged folders of Parquet end in one error that names the file, drawn by seeds."""

import re
from pathlib import Path
from random import Random

import pytest

from damage import damage_bytes, damage_json
from dataset_scripts.parquet import load_parquet
from dataset_scripts.parquet.check import check_parquet
from dataset_scripts.parquet.manifest import MANIFEST

SHARD = "data/train-00001-of-00003.parquet"


@pytest.mark.parametrize("seed", range(40))
def test_damage_is_told_by_the_file(converted: Path, seed: int):
    random, name = Random(seed), MANIFEST if seed % 4 == 0 else SHARD
    if name == MANIFEST:
        damage_json(converted / MANIFEST, random)
    else:
        (converted / MANIFEST).unlink()
        damage_bytes(converted / SHARD, random)
    try:
        check_parquet(converted)
    except (ValueError, OSError) as error:
        assert re.search(rf"{re.escape(str(converted))}|in the shard", str(error)), error


def test_a_page_that_does_not_parse_names_its_shard(converted: Path):
    (converted / MANIFEST).unlink()
    content = (converted / SHARD).read_bytes()
    (converted / SHARD).write_bytes(content[:4] + b"\xff" * 40 + content[44:])
    with pytest.raises(OSError, match=r"shard .*train-00001-of-00003\.parquet is damaged"):
        check_parquet(converted)


@pytest.mark.parametrize("record", ['""', "0", "false", "[]", '"x"'])
def test_a_record_of_another_kind_is_refused(converted: Path, record: str):
    path = converted / MANIFEST
    text = re.sub(rf'("{re.escape(SHARD)}": )\{{.*?\}}', rf"\g<1>{record}", path.read_text(), flags=re.DOTALL)
    path.write_text(text)
    with pytest.raises(ValueError, match="is no record of a conversion"):
        load_parquet(converted)


def test_a_shard_that_is_no_file(tmp_path: Path):
    (tmp_path / "train.parquet").mkdir()
    with pytest.raises(FileNotFoundError, match=r"train\.parquet is a folder, or a link to nothing"):
        load_parquet(tmp_path)
