from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dataset_scripts import PERSON_SEARCH_DATASETS, load_person_search
from dataset_scripts.formats import FORMATS

if TYPE_CHECKING:
    from tests.dataset_scripts.conftest import CuhkFolder


def test_the_names():
    assert PERSON_SEARCH_DATASETS == ("synthetic_pedes", *FORMATS, "parquet", "auto")
    assert "cuhk_pedes" in FORMATS


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("cuhk-pedes", "cuhk_pedes"), ("CUHK-PEDES", "cuhk_pedes"), ("synthetic", "synthetic_pedes"), ("x", None)],
)
def test_an_unknown_name_gets_the_nearest(name: str, nearest: str | None):
    with pytest.raises(ValueError, match=f"name is '{name}', but the data sets are synthetic_pedes, ") as caught:
        load_person_search(name)
    assert ("Did you mean" in str(caught.value)) is (nearest is not None)
    assert nearest is None or f"Did you mean '{nearest}'?" in str(caught.value)


def test_an_unknown_option_gets_the_nearest(cuhk: CuhkFolder, tmp_path: Path):
    with pytest.raises(TypeError, match="no option 'train_identites'.*Did you mean 'train_identities'"):
        load_person_search("synthetic_pedes", tmp_path, train_identites=3)
    with pytest.raises(TypeError, match="cuhk_pedes has no option 'seed'; its options are cache_dir, num_proc"):
        load_person_search("cuhk_pedes", cuhk.path, seed=3)


@pytest.mark.parametrize("num_proc", [0, -2])
def test_num_proc_out_of_range(num_proc: int):
    with pytest.raises(ValueError, match=f"num_proc is {num_proc}"):
        load_person_search("synthetic_pedes", num_proc=num_proc)


def test_two_processes_build_a_folder_too(cuhk: CuhkFolder):
    split = load_person_search("cuhk_pedes", cuhk.path, cache_dir=cuhk.cache_dir, num_proc=2)
    assert split["image_id"][:] == [row["file_path"] for row in cuhk.rows if row["split"] == "train"]


def test_importing_the_package_is_light():
    code = "import sys, dataset_scripts; sys.exit(bool({'datasets', 'PIL', 'numpy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
