"""Checkpoints of a run: whole or absent, the newest few kept, the best of each stage apart, and checked when read.

```
checkpoints/
    stage_one-step_120/        all it takes to go on: weights, optimizer, schedule, random numbers, place in the data
        checkpoint.json        written last: the facts, and size and hash of every other file
    stage_one-step_120-best/   weights only, in the form in which they are published
```
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from dataset_scripts.common.files import new_folder, write_json

FACTS = "checkpoint.json"

_STATE_NAME = re.compile(r"stage_(?P<stage>[a-z]+)-step_(?P<step>\d+)")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on disk.

    Attributes:
        path: its folder.
        stage: `"one"` or `"two"`.
        step: optimizer steps taken in that stage.
        facts: what `CheckpointStore.save` was given.
    """

    path: Path
    stage: str
    step: int
    facts: dict[str, Any]


class CheckpointStore:
    """The checkpoints of a run. All processes follow what is there; one writes.

    A folder is removed only when nothing that may still be needed refers to it: a state keeps the best weights that it
    knows of, so that a run that is killed at any instant finds everything that its newest state names.

    Args:
        folder: the run's `checkpoints`.
        writer: whether this process writes.
        keep: states to keep, 1 or more.
    """

    def __init__(self, folder: Path, writer: bool, keep: int = 2) -> None:
        self.folder = folder
        self.writer = writer
        self.keep = keep

    def save(self, stage: str, step: int, write: Callable[[Path], None], facts: Mapping[str, Any]) -> None:
        """Write the state of `step`, then remove states beyond the newest `keep`, and weights that none refers to.

        Args:
            stage: `"one"` or `"two"`.
            step: optimizer steps taken.
            write: fills the folder that it is given.
            facts: JSON values; `best_step` is the step of the best weights so far, or 0.

        Raises:
            OSError: it cannot be written; the message names the newest state that is whole.
        """
        if not self.writer:
            return

        def write_all(folder: Path) -> None:
            write(folder)
            files = {str(path.relative_to(folder)): _fingerprint(path) for path in _files(folder)}
            write_json(folder / FACTS, {"stage": stage, "step": step, "facts": dict(facts), "files": files})

        self._write(self.state(stage, step), write_all)
        self._prune(stage, facts["best_step"])

    def save_best(self, stage: str, step: int, write: Callable[[Path], None]) -> None:
        """Write the best weights so far; those before stay until no state refers to them."""
        if self.writer:
            self._write(self.best(stage, step), write)

    def state(self, stage: str, step: int) -> Path:
        """Where the state of a step is."""
        return self.folder / f"stage_{stage}-step_{step}"

    def best(self, stage: str, step: int) -> Path:
        """Where the best weights of a step are."""
        return self.folder / f"stage_{stage}-step_{step}-best"

    def newest(self) -> Checkpoint | None:
        """The newest state that is whole, None where there is none; damaged ones are named in a warning."""
        for path, stage, step in reversed(self._states()):
            try:
                return Checkpoint(path, stage, step, _checked_facts(path))
            except (OSError, ValueError) as error:
                logger.warning("%s; the checkpoint before it is used", error)
        return None

    def clear(self) -> None:
        """Remove all that is left, half-written folders of a killed run among it."""
        if self.writer and self.folder.is_dir():
            for path in self.folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _write(self, path: Path, write: Callable[[Path], None]) -> None:
        try:
            if path.exists():  # of the run that was killed after it; it may lack what this one knows
                shutil.rmtree(path)
            with new_folder(path) as folder:
                write(folder)
        except (OSError, RuntimeError, SafetensorError) as error:  # the last two are what a full disk is to torch
            newest = self.newest()
            remedy = (
                f"{newest.path} is whole: mend this, then go on from it with --resume auto" if newest else "mend this"
            )
            raise OSError(f"checkpoint {path} cannot be written ({error}); {remedy}") from error

    def _states(self) -> list[tuple[Path, str, int]]:
        """Folder, stage and step of every state, oldest first."""
        if not self.folder.is_dir():
            return []
        found = [(path, _STATE_NAME.fullmatch(path.name)) for path in self.folder.iterdir()]
        states = [(path, match["stage"], int(match["step"])) for path, match in found if match]
        order = {"one": 0, "two": 1}
        return sorted(states, key=lambda state: (order.get(state[1], -1), state[2]))

    def _prune(self, stage: str, best_step: int) -> None:
        """Remove old states, and best weights that neither a kept state nor the run refers to."""
        states = self._states()
        for path, _, _ in states[: -self.keep]:
            shutil.rmtree(path)
        wanted = {self.best(stage, best_step)}
        for path, of_stage, _ in states[-self.keep :]:
            try:
                wanted.add(self.best(of_stage, _read_facts(path)["facts"]["best_step"]))
            except (OSError, ValueError, KeyError):
                continue  # damaged: it will be passed over, and refers to nothing
        half_written = self.folder.glob(".stage_*")  # by a process that was killed
        for path in (*self.folder.glob("stage_*-best"), *half_written):
            if path not in wanted:
                shutil.rmtree(path)


def _files(folder: Path) -> list[Path]:
    """All files below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _fingerprint(path: Path) -> str:
    """Hash of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_facts(path: Path) -> dict[str, Any]:
    return json.loads((path / FACTS).read_text(encoding="utf-8"))


def _checked_facts(path: Path) -> dict[str, Any]:
    """The facts of a state, after comparing every file with its hash.

    Raises:
        OSError, ValueError: something is missing or was changed.
    """
    try:
        saved = _read_facts(path)
        files, facts = saved["files"], saved["facts"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"checkpoint {path} is damaged: {FACTS} cannot be read ({error})") from error
    for name, expected in files.items():
        if _fingerprint(path / name) != expected:
            raise ValueError(f"checkpoint {path} is damaged: {name} is not what was written")
    return facts


__all__ = ["Checkpoint", "CheckpointStore"]
