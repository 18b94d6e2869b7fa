import json
import math
import os
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from dataset_scripts.common import files
from dataset_scripts.common.files import (
    new_folder,
    remove_leftovers,
    replacing,
    scratch_folder,
    without_non_finite,
    write_atomically,
    write_json,
)

DIGITS = "0123456789abcdef"


def test_json_round_trip_makes_folders_and_leaves_nothing_else(tmp_path: Path):
    path = tmp_path / "new" / "deep" / "results.json"
    value = {"name": "Übersicht", "scores": [1.5, 2], "none": None}
    write_json(path, {"old": True})
    write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == value
    assert path.read_text(encoding="utf-8").startswith('{\n  "name": "Übersicht"')
    assert os.listdir(path.parent) == ["results.json"]


def test_non_finite_numbers_become_null_at_any_depth(tmp_path: Path):
    value = {"a": math.nan, "b": [1.0, {"c": (math.inf, -math.inf, 2)}]}
    expected = {"a": None, "b": [1.0, {"c": [None, None, 2]}]}
    assert without_non_finite(value) == expected
    write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text()) == expected


def test_a_value_that_is_not_json_leaves_the_old_file(tmp_path: Path):
    write_json(tmp_path / "x.json", [1])
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", [object()])
    assert json.loads((tmp_path / "x.json").read_text()) == [1]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failure_midway_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
):
    path = tmp_path / "weights.bin"
    write_atomically(path, b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new and longer")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["weights.bin"]


def test_content_is_on_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (events.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda old, new: (events.append("replace"), replace(old, new)))
    write_atomically(tmp_path / "a", b"x")
    assert events == ["fsync", "replace", "fsync"]


def test_a_folder_is_on_disk_at_any_depth_before_it_appears(tmp_path, monkeypatch):
    target, synced = tmp_path / "some" / "where", []
    monkeypatch.setattr(files, "sync", lambda path: synced.append((path.name, target.exists())))
    with new_folder(target) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "weights").write_text("w")
        assert not target.exists()
    assert synced == [(tmp_path.name, False), ("deep", False), ("weights", False), ("content", False), ("some", True)]
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["where"]
    assert [path.name for path in target.rglob("*")] == ["deep", "weights"]


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), new_folder(tmp_path / "made") as folder:
        (folder / "half").write_text("h")
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_stays(tmp_path):
    (tmp_path / "nowhere").symlink_to("missing")
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileExistsError, match="exists; name a folder that does not"), new_folder(folder):
            pytest.fail("it is filled")


def test_an_empty_folder_gives_way_where_that_is_allowed(tmp_path):
    (tmp_path / "empty").mkdir()
    with new_folder(tmp_path / "empty", replace_empty=True) as folder:
        (folder / "file").write_text("f")
    assert [path.name for path in tmp_path.rglob("*")] == ["empty", "file"]


@pytest.mark.parametrize(("mask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_everything_is_as_readable_as_the_umask_allows(tmp_path, mask, file_mode, folder_mode):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "file", b"x")
        with new_folder(tmp_path / "folder") as folder:
            (folder / "model.safetensors").write_bytes(b"x")
            (folder / "model.safetensors").chmod(0o600)  # as safetensors 0.8 writes it
            (folder / "deep").mkdir(mode=0o700)
    finally:
        os.umask(before)
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert found == {"file": file_mode, "folder": folder_mode, "model.safetensors": file_mode, "deep": folder_mode}


def test_temporary_names_cannot_be_foreseen_and_links_are_not_followed(tmp_path, monkeypatch):
    """With a name that can be foreseen, another user of a shared folder has a file of the victim's overwritten."""
    theirs = tmp_path / "theirs"
    theirs.write_text("precious")
    for name in (f".results.json.{os.getpid()}.tmp", ".results.json.0123456789abcdef.tmp"):
        (tmp_path / name).symlink_to(theirs)
    names = []
    for _ in range(2):
        with replacing(tmp_path / "results.json") as file:
            file.write(b"new")
            names += [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp") and not path.is_symlink()]
    assert len(set(names)) == 2 and theirs.read_text() == "precious"
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0123456789abcdef")
    with pytest.raises(FileExistsError), replacing(tmp_path / "results.json"):
        pytest.fail("it is written")
    assert theirs.read_text() == "precious" and (tmp_path / "results.json").read_bytes() == b"new"


WRITERS = {
    "file": "replacing(path)",
    "folder": "new_folder(path)",
    "scratch": "scratch_folder(path.name)",
}


@contextmanager
def writer(kind: str, path: Path):
    """A process that is in the middle of writing `path`."""
    script = f"""
import sys, tempfile
from pathlib import Path
from dataset_scripts.common.files import new_folder, replacing, scratch_folder
path = Path(sys.argv[1])
tempfile.tempdir = str(path.parent)
with {WRITERS[kind]} as made:
    made.write(b"half") if hasattr(made, "flush") else (made / "half").write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def write(kind: str, path: Path) -> None:
    if kind == "file":
        write_atomically(path, b"whole")
    elif kind == "folder":
        with new_folder(path) as folder:
            (folder / "file").write_text("whole")
    else:
        with scratch_folder(path.name) as folder:
            assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", WRITERS)
def test_what_a_killed_writer_left_goes_and_what_is_being_written_stays(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    path = tmp_path / "target"
    with writer(kind, path) as killed, writer(kind, path):
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        write(kind, path)
        assert len(list(tmp_path.glob(".target.*.tmp"))) == 1
    remove_leftovers(tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ([] if kind == "scratch" else ["target"])


def test_only_what_bears_the_name_of_a_leftover_goes(tmp_path):
    kept = [
        ".a.json.tmp",
        ".a.json.0123456789abcde.tmp",
        ".a.json.0123456789ABCDEF.tmp",
        "a.json.0123456789abcdef.tmp",
        f".b.json.{DIGITS}.tmp",
        f".a.json.{DIGITS}",
    ]
    gone = [f".a.json.{DIGITS}.tmp", ".a.json.4711.tmp"]
    for name in (*kept, *gone):
        (tmp_path / name).write_text(name)
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (tmp_path / ".a.json.1.tmp").symlink_to(outside)
    (tmp_path / ".a.json.2.tmp").mkdir()
    os.mkfifo(tmp_path / ".a.json.3.tmp")
    (tmp_path / ".a.json.5.tmp").mkdir()
    (tmp_path / ".a.json.5.tmp" / "link").symlink_to(outside)
    write_atomically(tmp_path / "a.json", b"{}")
    expected = {*kept, "a.json", "outside", ".a.json.1.tmp", ".a.json.3.tmp"}
    assert {path.name for path in tmp_path.iterdir()} == expected and (outside / "deep").is_dir()


def test_a_folder_without_right_to_list_it_can_be_written(tmp_path):
    remove_leftovers(tmp_path / "missing")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "missing" / "file"):
        pytest.fail("it is written")


def test_every_new_parent_is_on_disk_too(tmp_path, monkeypatch):
    """Only the last folder's entries were synced: a power cut could lose the ones above."""
    synced = []
    monkeypatch.setattr(files, "sync", synced.append)
    files.write_atomically(tmp_path / "a" / "b" / "c" / "file", b"x")
    assert set(synced) == {tmp_path, tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"}


WINDOWS = """
import sys, os, signal
sys.modules["fcntl"] = None
del signal.SIGUSR1, signal.SIGCHLD, signal.pthread_sigmask, os.geteuid, os.O_NOFOLLOW, os.O_NONBLOCK
from pathlib import Path
import modeling_prompt_clip, modeling_prompt_clip.loading, modeling_prompt_clip.retrieval.search, trainers.two_stage
from dataset_scripts.common.files import new_folder, write_atomically
for text in (b"one", b"two"):
    write_atomically("some/file", text)
with new_folder("folder") as folder:
    Path(folder, "x").write_text("x")
assert Path("some/file").read_bytes() == b"two" and os.listdir("folder") == ["x"] and len(os.listdir()) == 2
"""


def test_a_system_without_these_signals_and_locks(tmp_path):
    """`import trainers.two_stage` ended at signal.SIGUSR1, and all of it at fcntl, where there are none."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "HF_HUB_OFFLINE": "1"}
    answer = subprocess.run(
        [sys.executable, "-c", WINDOWS], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
