"""A run to be killed, and one that was left in peace."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState
from transformers import TrainerCallback

from resuming import SETTINGS, TINY, ending
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
def undisturbed(tmp_path_factory, tiny_clip_folder, splits) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    args = TwoStageTrainingArguments(base_model=str(tiny_clip_folder), output_dir=str(folder), **(TINY | SETTINGS))
    TwoStageTrainer(args, splits=splits).train()
    AcceleratorState._reset_state(reset_partial_state=True)
    return ending(folder)
