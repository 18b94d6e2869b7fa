"""A run to be killed, and one that was left in peace."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState
from transformers import TrainerCallback

from resuming import SETTINGS, TINY, DieAfter, Killed, ending
from trainers import TwoStageTrainer, TwoStageTrainingArguments


@pytest.fixture
def train(make_args, splits) -> Callable[..., TwoStageTrainer]:
    """Runs to the end, or raises; returns the trainer."""

    def run(folder: Path, callbacks: Sequence[TrainerCallback] = (), **settings: object) -> TwoStageTrainer:
        args = make_args(output_dir=str(folder), **(SETTINGS | settings))
        trainer = TwoStageTrainer(args, splits=splits, callbacks=callbacks)
        try:
            trainer.train()
        finally:
            AcceleratorState._reset_state(reset_partial_state=True)
        return trainer

    return run


@pytest.fixture(scope="session")
def train_once(tiny_clip_folder, splits) -> Callable[..., None]:
    def run(folder: Path, *callbacks: TrainerCallback) -> None:
        args = TwoStageTrainingArguments(base_model=str(tiny_clip_folder), output_dir=str(folder), **(TINY | SETTINGS))
        try:
            TwoStageTrainer(args, splits=splits, callbacks=callbacks).train()
        finally:
            AcceleratorState._reset_state(reset_partial_state=True)

    return run


@pytest.fixture(scope="session")
def undisturbed_run(tmp_path_factory, train_once) -> Path:
    """The folder of a finished run; tests must not change it."""
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    train_once(folder)
    return folder


@pytest.fixture(scope="session")
def undisturbed(undisturbed_run) -> dict[str, object]:
    return ending(undisturbed_run)


@pytest.fixture(scope="session")
def killed_run(tmp_path_factory, train_once) -> Path:
    """The folder of a run that was killed in stage two after its checkpoint of step 4; tests must not change it."""
    folder = tmp_path_factory.mktemp("runs") / "killed"
    with pytest.raises(Killed):
        train_once(folder, DieAfter(4, "two"))
    return folder
