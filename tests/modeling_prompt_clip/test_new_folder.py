import pytest

from modeling_prompt_clip import new_folder as module
from modeling_prompt_clip.new_folder import new_folder


def test_all_is_on_disk_before_the_folder_appears(tmp_path, monkeypatch):
    target, synced = tmp_path / "some" / "where", []
    monkeypatch.setattr(module, "_sync", lambda path: synced.append((path.name, target.exists())))
    with new_folder(target) as folder:
        (folder / "weights").write_text("w")
        assert not target.exists()
    assert synced == [("weights", False), ("where", False), ("some", True)]
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["where"]


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), new_folder(tmp_path / "made") as folder:
        (folder / "half").write_text("h")
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_stays(tmp_path):
    with pytest.raises(FileExistsError, match="exists; name a folder that does not"), new_folder(tmp_path):
        pytest.fail("it is filled")
