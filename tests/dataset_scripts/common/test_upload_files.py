"""What of a folder may go up: files by name, and no link to what lies elsewhere or stays at home."""

import os

import pytest

from dataset_scripts.common.upload_files import copy_files, select_files

LISTED = {"a.json", "b.json", "data/c.json"}.__contains__


@pytest.fixture
def folder(tmp_path):
    """In a run, beside a secret."""
    (tmp_path / "secret").write_text("token")
    folder = tmp_path / "run" / "model"
    (folder / "data").mkdir(parents=True)
    for name in ("a.json", "data/c.json"):
        (folder / name).write_text(name)
    return folder


def test_the_rest_is_named_and_a_folder_once(folder, tmp_path):
    for name in (".env", ".git/config", ".git/objects/1", "data/x", "deep/a/b/c"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("no")
    selection = select_files(folder, LISTED)
    assert selection.files == ("a.json", "data/c.json")
    assert selection.left_out == (".env", ".git/", "data/x", "deep/")
    copy_files(folder, tmp_path / "copy", selection)
    copied = {path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*")}
    assert copied == {"a.json", "data", "data/c.json"}


@pytest.mark.parametrize("name", ["b.json", "data/c.json", "notes", "data/notes", "folder"])
@pytest.mark.parametrize("target", ["secret", "."])
def test_a_link_that_leaves_is_refused_whatever_its_name(folder, tmp_path, name, target):
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / target)
    with pytest.raises(ValueError, match=f"{name} is a link that leaves .*run.*Remove the link"):
        select_files(folder, LISTED, within=folder.parent)


def test_the_folder_itself_is_no_link_to_elsewhere(folder):
    folder.rename(folder.parents[1] / "elsewhere")
    folder.symlink_to(folder.parents[1] / "elsewhere")
    with pytest.raises(ValueError, match="model is a link that leaves"):
        select_files(folder, LISTED, within=folder.parent)


def test_a_link_inside_the_run_gives_its_file_unless_that_stays(folder, tmp_path):
    (folder.parent / "best").mkdir()
    (folder.parent / "best" / "b.json").write_text("best")
    (folder / "b.json").symlink_to("../best/b.json")
    selection = select_files(folder, LISTED, within=folder.parent)
    copy_files(folder, tmp_path / "copy", selection)
    copy = tmp_path / "copy" / "b.json"
    assert copy.read_text() == "best" and not copy.is_symlink()
    (folder / "b.json").unlink()
    (folder.parent / ".env").write_text("token")
    (folder / "b.json").symlink_to("../.env")
    with pytest.raises(ValueError, match=r"b.json is a link to \.env, which is not among"):
        select_files(folder, LISTED, within=folder.parent)


@pytest.mark.parametrize("target", ["nowhere", "b.json"])
def test_a_link_to_nothing(folder, target):
    (folder / "b.json").symlink_to(target)
    with pytest.raises(ValueError, match=r"b\.json is a link to nothing"):
        select_files(folder, LISTED)


def test_what_is_no_file(folder):
    os.mkfifo(folder / "b.json")
    with pytest.raises(ValueError, match=r"b\.json is no file"):
        select_files(folder, LISTED)
