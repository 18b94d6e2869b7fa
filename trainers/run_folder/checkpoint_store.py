"""Checkpoints of a run: complete or absent, the newest few kept, checked when read.

```
checkpoints/ stage_one-step_120/        all that resuming needs: weights, optimizer, schedule, random numbers, place in
the data checkpoint.json        written last: the facts, and the hash of every other file and of the best weights
stage_one-step_120-best/   weights only, in the form in which they are published
```
"""

import logging
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from dataset_scripts.common.files import new_folder, write_json
from trainers.run_folder.files import read_json
from trainers.run_folder.hashes import check_hashes, file_hashes, is_hashes

FACTS = "checkpoint.json"

_STATE_NAME = re.compile(r"stage_(?P<stage>[a-z]+)-step_(?P<step>\d+)")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    path: Path  # its folder
    stage: str  # `"one"` or `"two"`
    step: int  # optimizer steps taken in that stage
    facts: dict[str, Any]  # as passed to `CheckpointStore.save`


class CheckpointStore:
    """Checkpoints of a run: every process reads them, one writes.

    A state keeps the best weights that it names, so a run killed at any instant finds all that its newest state needs.

    Args:
        folder: the run's `checkpoints`.
        writer: whether this process writes.
        keep: states to keep, 1 or more.
    """

    def __init__(self, folder: Path, writer: bool, keep: int = 2) -> None:
        self.folder = folder
        self.writer = writer
        self.keep = keep
        self._best_hashes: dict[Path, dict[str, str]] = {}

    def save(self, stage: str, step: int, write: Callable[[Path], None], facts: Mapping[str, Any]) -> None:
        """Write the state of `step`, then remove old states and unreferenced weights.

        Args:
            stage: `"one"` or `"two"`.
            step: optimizer steps taken.
            write: fills the folder it gets.
            facts: JSON values; `best_step` is the step of the best weights so far, or 0.

        Raises OSError: it cannot be written; the message names the newest complete state.
        """
        if not self.writer:
            return

        def write_all(folder: Path) -> None:
            write(folder)
            content = {"stage": stage, "step": step, "facts": dict(facts), "files": file_hashes(folder)}
            if facts["best_step"]:
                content["best"] = self.best_hashes(stage, facts["best_step"])
            write_json(folder / FACTS, content)

        self._write(self.state(stage, step), write_all)
        self._prune(stage, facts["best_step"])

    def save_best(self, stage: str, step: int, write: Callable[[Path], None]) -> None:
        """Write the best weights; earlier ones stay while a state refers to them."""
        if not self.writer:
            return
        path = self.best(stage, step)

        def write_all(folder: Path) -> None:
            write(folder)
            self._best_hashes[path] = file_hashes(folder)

        self._write(path, write_all)

    def best_hashes(self, stage: str, step: int) -> dict[str, str]:
        """Return the hashes of a step's best weights from when they were written.

        Raises OSError: an earlier version wrote no hashes, and the weights cannot be read.
        """
        path = self.best(stage, step)
        if path not in self._best_hashes:
            self._best_hashes[path] = file_hashes(path)
        return self._best_hashes[path]

    def check_best(self, stage: str, step: int, hashes: Mapping[str, str] | None) -> None:
        """Compare the best weights of a step with their hashes.

        Args:
            stage: `"one"` or `"two"`.
            step: of the weights.
            hashes: None if an earlier version kept none, which only warns.

        Raises OSError, ValueError: the weights are missing or have changed.
        """
        path = self.best(stage, step)
        if hashes is None:
            if not path.is_dir():
                raise FileNotFoundError(f"{path} is missing")
            logger.warning(
                "%s was written without hashes by an earlier version: whether it is whole is not known", path
            )
            return
        check_hashes(path, hashes)
        self._best_hashes[path] = dict(hashes)

    def state(self, stage: str, step: int) -> Path:
        """Path of the state of a step."""
        return self.folder / f"stage_{stage}-step_{step}"

    def best(self, stage: str, step: int) -> Path:
        """Path of the best weights of a step."""
        return self.folder / f"stage_{stage}-step_{step}-best"

    def newest(self, without: Collection[str] = ()) -> Checkpoint | None:
        """Find the newest complete state whose best weights are complete too, if any.

        A warning names damaged states.

        Args:
            without: stages whose states are skipped.
        """
        for path, stage, step in reversed(self._states()):
            if stage in without:
                continue
            try:
                return self._checked(path, stage, step)
            except (OSError, ValueError) as error:
                logger.warning("checkpoint %s is damaged: %s; the checkpoint before it is used", path, error)
        return None

    def has_states(self, without: Collection[str] = ()) -> bool:
        """Whether there are states, complete or not, of stages not in `without`."""
        return any(stage not in without for _, stage, _ in self._states())

    def _checked(self, path: Path, stage: str, step: int) -> Checkpoint:
        """Compare every file of a state, and of the best weights it names, with its hash.

        Raises OSError, ValueError: something is missing or has changed.
        """
        saved = _read_facts(path)
        if (saved["stage"], saved["step"]) != (stage, step):
            raise ValueError(f"{path / FACTS} is of step {saved['step']!r} of stage {saved['stage']!r}")
        check_hashes(path, saved["files"])
        if best_step := saved["facts"]["best_step"]:
            self.check_best(stage, best_step, saved.get("best"))
        return Checkpoint(path, stage, step, saved["facts"])

    def clear(self) -> None:
        """Remove everything, including half-written folders of a killed run."""
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
            state = f"{newest.path} is complete: " if newest else ""
            raise OSError(
                f"checkpoint {path} cannot be written ({error}); {state}mend this, then resume with --resume auto"
            ) from error

    def _states(self) -> list[tuple[Path, str, int]]:
        """List folder, stage and step of every state, oldest first."""
        if not self.folder.is_dir():
            return []
        found = [(path, _STATE_NAME.fullmatch(path.name)) for path in self.folder.iterdir()]
        states = [(path, match["stage"], int(match["step"])) for path, match in found if match]
        order = {"one": 0, "two": 1}
        return sorted(states, key=lambda state: (order.get(state[1], -1), state[2]))

    def _prune(self, stage: str, best_step: int) -> None:
        """Remove old states, and best weights without a reference."""
        states = self._states()
        for path, _, _ in states[: -self.keep]:
            shutil.rmtree(path)
        wanted = {self.best(stage, best_step)}
        for path, of_stage, _ in states[-self.keep :]:
            try:
                wanted.add(self.best(of_stage, _read_facts(path)["facts"]["best_step"]))
            except (OSError, ValueError):
                continue  # damaged: it will be passed over, and refers to nothing
        half_written = self.folder.glob(".stage_*")  # by a process that was killed
        for path in (*self.folder.glob("stage_*-best"), *half_written):
            if path not in wanted:
                shutil.rmtree(path)


def _read_facts(path: Path) -> dict[str, Any]:
    """Read a state's `checkpoint.json`.

    Raises OSError, ValueError: it is missing or damaged.
    """
    file = path / FACTS
    saved = read_json(file, "it is passed over")
    facts = saved.get("facts") if isinstance(saved, dict) else None
    best_step = facts.get("best_step") if isinstance(facts, dict) else None
    whole = (
        isinstance(best_step, int)
        and best_step >= 0
        and "stage" in saved
        and "step" in saved
        and is_hashes(saved.get("files"))
        and is_hashes(saved.get("best", {}))
    )
    if not whole:
        raise ValueError(f"{file} is not what a run writes")
    return saved


__all__ = ["Checkpoint", "CheckpointStore"]
