import errno
import json
import shutil
from pathlib import Path

import pytest

from trainers.run_folder.checkpoint_store import FACTS, CheckpointStore


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", writer=True, keep=2)


def save(store: CheckpointStore, stage: str, step: int, best_step: int = 0) -> None:
    def write(folder: Path) -> None:
        (folder / "weights").mkdir()
        (folder / "weights" / "model.safetensors").write_bytes(bytes([step]) * 10)

    store.save(stage, step, write, {"best_step": best_step})


def save_best(store: CheckpointStore, stage: str, step: int) -> None:
    store.save_best(stage, step, lambda folder: (folder / "model.safetensors").write_bytes(bytes([step])))


def names(store: CheckpointStore) -> set[str]:
    return {path.name for path in store.folder.iterdir()}


def test_nothing_is_there_at_first(store):
    assert store.newest() is None


def test_the_newest_few_are_kept_by_number_and_not_by_letter(store):
    for step in (2, 8, 9, 10, 100):
        save(store, "one", step)
    assert names(store) == {"stage_one-step_10", "stage_one-step_100"}
    newest = store.newest()
    assert (newest.stage, newest.step, newest.facts) == ("one", 100, {"best_step": 0})


def test_stage_two_comes_after_stage_one(store):
    save(store, "one", 50)
    save(store, "two", 3)
    assert store.newest().stage == "two"


def test_best_weights_stay_while_a_kept_state_refers_to_them(store):
    save_best(store, "one", 2)
    save(store, "one", 2, best_step=2)
    save_best(store, "one", 4)
    save(store, "one", 4, best_step=4)
    # a kill now goes on from step 4 or, if that is damaged, from step 2: each finds its best weights
    assert names(store) == {"stage_one-step_2", "stage_one-step_2-best", "stage_one-step_4", "stage_one-step_4-best"}
    save(store, "one", 6, best_step=4)
    assert names(store) == {"stage_one-step_4", "stage_one-step_4-best", "stage_one-step_6"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "weights/model.safetensors").write_bytes(b"\x04" * 9),
        lambda path: (path / "weights/model.safetensors").write_bytes(b"\x05" * 10),
        lambda path: (path / "weights/model.safetensors").unlink(),
        lambda path: (path / FACTS).write_text((path / FACTS).read_text()[:40]),
        lambda path: (path / FACTS).write_text("[]"),
        lambda path: (path / FACTS).unlink(),
    ],
    ids=["cut short", "other bytes", "file missing", "facts cut short", "facts of another kind", "no facts"],
)
def test_a_damaged_state_is_named_and_the_one_before_it_used(store, damage, caplog):
    save(store, "one", 2)
    save(store, "one", 4)
    damage(store.folder / "stage_one-step_4")
    assert store.newest().step == 2
    assert "stage_one-step_4" in caplog.text and "the checkpoint before it is used" in caplog.text
    save(store, "one", 4)  # the resumed run comes by again
    assert store.newest().step == 4


def test_a_full_disk_leaves_what_was_there_and_says_how_to_go_on(store):
    save(store, "one", 2)
    before = json.loads((store.folder / "stage_one-step_2" / FACTS).read_text())

    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(
        OSError, match=r"stage_one-step_4 cannot be written.*No space left.*step_2 is complete.*--resume"
    ):
        store.save("one", 4, fail, {"best_step": 0})
    assert names(store) == {"stage_one-step_2"}
    assert json.loads((store.folder / "stage_one-step_2" / FACTS).read_text()) == before


def test_only_the_writer_writes(tmp_path):
    follower = CheckpointStore(tmp_path / "checkpoints", writer=False)
    save(follower, "one", 2)
    save_best(follower, "one", 2)
    follower.clear()
    assert not follower.folder.exists()
    assert follower.best("one", 2) == tmp_path / "checkpoints" / "stage_one-step_2-best"


def test_the_leavings_of_a_killed_run_go_with_the_next_checkpoint(store):
    save(store, "one", 2)
    (store.folder / ".stage_one-step_4.abc").mkdir()
    save(store, "one", 4)
    assert names(store) == {"stage_one-step_2", "stage_one-step_4"}


def test_clear_takes_the_leavings_of_a_killed_run_too(store):
    save(store, "one", 2)
    save_best(store, "one", 2)
    shutil.copytree(store.folder / "stage_one-step_2", store.folder / ".stage_one-step_4.abc")
    (store.folder / "loose").write_text("x")
    store.clear()
    assert not names(store)
