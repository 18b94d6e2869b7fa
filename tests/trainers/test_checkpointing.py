import pytest
import torch

from trainers.checkpointing import BestWeights
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


def test_the_best_replaces_the_one_before_and_is_published(tmp_path):
    best = BestWeights(tmp_path, "one", writer=True)
    best.save(10, lambda path: (path / "weights").write_text("ten"))
    best.save(30, lambda path: (path / "weights").write_text("thirty"))
    assert [path.name for path in tmp_path.iterdir()] == ["stage_one-step_30"]
    best.publish(tmp_path / "adapter")
    assert (best.path / "weights").read_text() == "thirty"


def test_a_failure_while_saving_keeps_the_last_checkpoint(tmp_path):
    best = BestWeights(tmp_path, "two", writer=True)
    best.save(1, lambda path: torch.save({}, path / "weights"))
    with pytest.raises(OSError, match="disk full"):
        best.save(2, lambda path: (_ for _ in ()).throw(OSError("disk full")))
    assert [path.name for path in tmp_path.iterdir()] == ["stage_two-step_1"]


def test_only_the_writer_touches_the_disk(tmp_path):
    best = BestWeights(tmp_path, "one", writer=False)
    best.save(1, lambda path: (path / "weights").write_text("never"))
    assert list(tmp_path.iterdir()) == []
    assert best.path == tmp_path / "stage_one-step_1"
