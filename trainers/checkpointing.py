"""The best weights of a stage: on disk, and back into a model."""

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from peft import PeftModel
from peft.utils.save_and_load import load_peft_weights, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn

from trainers.files import write_folder


class BestWeights:
    """The best checkpoint of a stage: `checkpoints/stage_NAME-step_N`, an adapter or a whole model.

    The one before it is removed only after the next stands on disk. All processes follow where it is; one writes.

    Args:
        folder: the run's `checkpoints`.
        stage: `"one"` or `"two"`.
        writer: whether this process writes.
    """

    def __init__(self, folder: Path, stage: str, writer: bool) -> None:
        self.folder = folder
        self.stage = stage
        self.writer = writer
        self.path: Path | None = None

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Write the checkpoint of `step`, then remove the one before it."""
        path, before = self.folder / f"stage_{self.stage}-step_{step}", self.path
        self.path = path
        if self.writer:
            write_folder(path, write)
            if before is not None:
                shutil.rmtree(before)

    def publish(self, target: Path) -> None:
        """Move the checkpoint to its final place, which must not exist."""
        if self.writer:
            self.path.rename(target)
        self.path = target


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


__all__ = ["BestWeights", "load_adapter_weights", "load_model_weights"]
