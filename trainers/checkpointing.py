"""What a stage saves to go on from, and its best weights: on disk, and back into the run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from peft import PeftModel
from peft.utils.save_and_load import load_peft_weights, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn

from trainers.checkpoint_store import Checkpoint, CheckpointStore
from trainers.random_state import random_state, restore_random_state

WEIGHTS = "weights"
STATE = "state.pt"


@dataclass
class StageCheckpoints:
    """Saves and restores one stage of a run.

    Attributes:
        accelerator: of the run.
        store: the run's checkpoints.
        stage: `"one"` or `"two"`.
        save_weights: fills a folder with the trained weights, in the form in which they are published.
        load_weights: puts them back into the model.
        facts: what must be the same when the run goes on: sizes of the data, number of processes.
    """

    accelerator: Accelerator
    store: CheckpointStore
    stage: str
    save_weights: Callable[[Path], None]
    load_weights: Callable[[Path], None]
    facts: dict[str, Any]

    def save(self, step: int, best_step: int, state: dict[str, Any]) -> None:
        """Save everything that the steps to come depend on. All processes must call it.

        Args:
            step: optimizer steps taken.
            best_step: the step of the best weights so far, 0 where there are none.
            state: of the loop; numbers, texts, tensors, and containers of them.

        Raises:
            OSError: it cannot be written; the message names the newest checkpoint that is whole.
        """
        random_states = gather_object([random_state()])

        def write(folder: Path) -> None:
            (folder / WEIGHTS).mkdir()
            self.save_weights(folder / WEIGHTS)
            torch.save({"loop": state, "random": random_states}, folder / STATE)

        self.store.save(self.stage, step, write, {**self.facts, "best_step": best_step})
        self.accelerator.wait_for_everyone()

    def restore(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Put weights and random numbers back, and return the state of the loop.

        Raises:
            ValueError: the data or the number of processes are others than those that the checkpoint was made with.
        """
        for name, value in self.facts.items():
            if (before := checkpoint.facts.get(name)) != value:
                raise ValueError(
                    f"checkpoint {checkpoint.path} was made with {name} {before}, this run has {value}: go on with "
                    "what it was made with, or start anew in another output_dir"
                )
        self.load_weights(checkpoint.path / WEIGHTS)
        saved = torch.load(checkpoint.path / STATE, map_location="cpu", weights_only=True)
        restore_random_state(saved["random"][self.accelerator.process_index])
        return saved["loop"]

    def save_best(self, step: int) -> None:
        """Save the best weights so far."""
        self.store.save_best(self.stage, step, self.save_weights)

    def load_best(self, step: int) -> None:
        """Put the best weights, those of `step`, back into the model, once they are on disk."""
        self.accelerator.wait_for_everyone()
        self.load_weights(self.store.best(self.stage, step))


def load_adapter_weights(model: PeftModel, folder: Path) -> None:
    """Put saved adapter weights into a PEFT model that has the same adapter.

    Raises:
        ValueError: the folder holds other tensors than the adapter.
    """
    outcome = set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
    lacking = [key for key in outcome.missing_keys if model.active_adapter in key and "clip_prompt" in key]
    if lacking or outcome.unexpected_keys:
        odd = (lacking or outcome.unexpected_keys)[0]
        raise ValueError(f"adapter {folder} does not fit the model: {odd} is missing or unknown; was it trained here?")


def load_model_weights(model: nn.Module, folder: Path) -> None:
    """Put the weights of a saved model, in one or several safetensors files, into a model of the same shape."""
    weights: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        weights.update(load_file(path))
    model.load_state_dict(weights, strict=True)


__all__ = ["StageCheckpoints", "load_adapter_weights", "load_model_weights"]
