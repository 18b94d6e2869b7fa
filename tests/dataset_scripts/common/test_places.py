import errno
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import datasets
import pytest

from dataset_scripts.common import cli
from dataset_scripts.common.files import check_output, refused_by_system

ROOT = str(Path(__file__).parents[3])


def _die(row=None):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def closed(tmp_path, monkeypatch):
    """A folder that cannot be written, for root too."""
    folder = tmp_path / "closed"
    folder.mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder and access(path, mode))
    return folder


def test_an_output_is_checked_where_it_would_be_made(tmp_path, closed, monkeypatch):
    check_output(tmp_path / "new" / "deep")
    with pytest.raises(OSError, match=r"--output .*/closed/new cannot be written: .*/closed is read-only here; name"):
        check_output(closed / "new", "--output")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot be a folder: .*/file is a file"):
        check_output(tmp_path / "file" / "new")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 0))
    with pytest.raises(OSError, match="the disk of .* is full"):
        check_output(tmp_path / "new")


@pytest.mark.parametrize(
    "words",
    [
        ["data", "convert", "missing", "closed/out"],
        ["convert", "missing.pt", "closed/out"],
        ["export", "missing", "--output", "closed/out"],
        ["search", "missing", "--gallery", "gallery", "--output", "closed/a.png", "a man"],
        ["evaluate", "missing", "--data", "synthetic_pedes", "--output", "closed/out"],
        ["train", "--base_model", "missing", "--output_dir", "closed/out"],
    ],
)
def test_every_verb_finds_it_before_its_work(words, tmp_path, closed, monkeypatch, capsys):
    """Search encoded its whole gallery first, and then lost the answer to search.png."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / "a.png").touch()
    assert cli.main(words) == 1
    assert "/closed is read-only here; name another folder" in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("name", ["hub/model", "", ".."])
def test_a_cache_that_cannot_be_written_names_the_remedy(number, name, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    place = os.path.normpath(tmp_path / "hf" / name)
    wrapped = RuntimeError("An error occurred while generating the dataset")
    wrapped.__cause__ = OSError(number, os.strerror(number), place)
    assert f"{place} ({os.strerror(number)}); set HF_HOME" in refused_by_system(wrapped)
    assert refused_by_system(OSError(number, "x", str(tmp_path / "elsewhere"))) is None
    assert refused_by_system(OSError(errno.ENOENT, "x", place)) is None


@pytest.mark.parametrize("num_proc", [1, 2])
def test_a_killed_process_is_told_of_in_one_line(num_proc, monkeypatch, capsys):
    """A killed child of a pool, or of datasets' map, ended in its traceback."""
    rows = datasets.Dataset.from_dict({"x": [1, 2]})

    def work(argv):
        if num_proc == 1:
            with ProcessPoolExecutor(1) as pool:
                pool.submit(_die).result()
        rows.map(_die, num_proc=2)

    monkeypatch.setattr("dataset_scripts.commands.check.main", work)
    assert cli.main(["data", "check", "anywhere"]) == 1
    error = capsys.readouterr().err
    assert "the system ended a process that reads images" in error and "Traceback" not in error


PRINTED = "import sys; from dataset_scripts.common import cli; sys.exit(cli.main(sys.argv[1:]))"


def test_names_outside_the_locale_name_the_remedy(tmp_path):
    (tmp_path / "行人").mkdir()
    environment = os.environ | {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment |= {"PYTHONPATH": ROOT, "HF_HUB_OFFLINE": "1"}
    (tmp_path / "annotations.jsonl").write_text(
        '{"image": "行人/a.png", "split": "test", "person_id": 1, "captions": ["a man"]}\n', encoding="utf-8"
    )
    for words in (["data", "check", "."], ["evaluate", "stand-in", "--data", ".", "--split", "test"]):
        answer = subprocess.run(
            [sys.executable, "-c", PRINTED, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert answer.returncode == 1 and "set PYTHONUTF8=1 in the environment" in answer.stderr, answer.stderr
        assert "Traceback" not in answer.stderr
