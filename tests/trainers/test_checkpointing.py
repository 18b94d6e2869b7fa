import pytest

from trainers.files import write_folder


def test_a_folder_appears_whole(tmp_path):
    write_folder(tmp_path / "deep" / "folder", lambda path: (path / "file").write_text("whole"))
    assert (tmp_path / "deep" / "folder" / "file").read_text() == "whole"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["folder"]


def test_a_failed_write_leaves_nothing(tmp_path):
    def fail(path):
        (path / "half").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_folder(tmp_path / "folder", fail)
    assert list(tmp_path.iterdir()) == []
