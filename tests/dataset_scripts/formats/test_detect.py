"""Which format a folder has, and what is said where it has none."""

import json
from pathlib import Path

import pytest

from dataset_scripts.formats import FORMATS, detect_format, get_format
from person_search_folders import FOLDERS, make_folder


@pytest.mark.parametrize("name", [name for name in FOLDERS if not name.startswith("custom")])
def test_the_more_particular_of_two_candidates_is_taken(name: str, tmp_path: Path):
    folder = make_folder(name, tmp_path / "set")
    make_folder("custom", folder)
    (folder / "metadata.csv").write_text("file_name,person_id,caption\n0_0.jpg,1,A man.\n")
    assert detect_format(folder).name == name


def test_a_file_of_the_same_name_with_other_fields_is_not_taken(tmp_path: Path):
    (tmp_path / "data_captions.json").write_text(json.dumps([{"file_path": "a.jpg", "id": 0, "captions": ["A man."]}]))
    with pytest.raises(
        ValueError, match="data_captions.json starts with the fields file_path, id, captions, but that of"
    ):
        detect_format(tmp_path)
    make_folder("custom", tmp_path)
    assert detect_format(tmp_path).name == "custom"


@pytest.mark.parametrize("text", ["", "[", "\xff", "[7]", "<html>"])
@pytest.mark.parametrize("name", ["cuhk_pedes", "mals", "luperson_mllm", "custom"])
def test_a_damaged_annotation_is_told_by_its_name(name: str, text: str, tmp_path: Path):
    folder = make_folder(name, tmp_path / "set")
    for file in get_format(name).annotations(folder):
        file.write_bytes(text.encode("latin-1"))
    assert detect_format(folder).name == name


@pytest.mark.parametrize("name", FOLDERS)
def test_the_folder_above_is_recognised(name: str, tmp_path: Path):
    folder = make_folder(name, tmp_path / "data" / "set")
    with pytest.raises(ValueError, match=rf"but {folder} holds .*: pass that as data_dir"):
        detect_format(folder.parent)
    with pytest.raises(FileNotFoundError, match=rf"It is in {folder}: pass that as data_dir"):
        get_format(FOLDERS[name]().format).find(folder.parent)


@pytest.mark.parametrize("name", ["cuhk_pedes", "luperson_mllm", "custom"])
def test_the_folder_of_the_images_is_recognised(name: str, tmp_path: Path):
    folder = make_folder(name, tmp_path / "data" / "set")
    images = folder / FOLDERS[name]().images[0].split("/")[0]
    with pytest.raises(ValueError, match=rf"but {folder} holds .*: pass that as data_dir"):
        detect_format(images)


def test_caption_all_is_explained(tmp_path: Path):
    (tmp_path / "caption_all.json").write_text("[]")
    (tmp_path / "imgs").mkdir()
    with pytest.raises(ValueError, match="no complete copy of CUHK-PEDES: caption_all.json.*has no 'split' field"):
        detect_format(tmp_path)


def test_a_json_list_of_ones_own_is_explained(tmp_path: Path):
    (tmp_path / "annotations.json").write_text("[]")
    with pytest.raises(ValueError, match="your own data: annotations.json is not read: write one JSON object a line"):
        detect_format(tmp_path)


def test_a_folder_with_nothing_gets_the_list(tmp_path: Path):
    with pytest.raises(ValueError, match="no annotation file that is known") as caught:
        detect_format(tmp_path)
    for name in FORMATS:
        assert get_format(name).annotation_files[0] in str(caught.value)


def test_no_folder(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        detect_format(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="is a file"):
        detect_format(tmp_path / "file")


def test_what_macos_puts_beside_a_file_is_passed_over(tmp_path: Path):
    folder = make_folder("custom_excel", tmp_path / "set")
    (folder / "._people.csv").write_bytes(b"\0\5\x16\7")
    assert [file.name for file in detect_format(folder).annotations(folder)] == ["people.csv"]


def test_an_unknown_format_gets_the_nearest():
    with pytest.raises(ValueError, match="format is 'rstpreid'.*Did you mean 'rstp_reid'"):
        get_format("rstpreid")
