"""Save and load the checkpoints and the best weights of a stage."""

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from modeling_prompt_clip.folder_checks import OTHERS_ERRORS, check_archive, one_line
from modeling_prompt_clip.loading import put_adapter, read_adapter
from trainers.distributed.sharding import is_cut, module_state
from trainers.publishing.uploads import HubUploads
from trainers.run_folder.checkpoint_store import Checkpoint, CheckpointStore

WEIGHTS = "weights"
STATE = "state.pt"


@dataclass
class StageCheckpoints:
    """Saves and restores one stage of a run."""

    accelerator: Accelerator
    store: CheckpointStore
    stage: str
    model: nn.Module
    # fills a folder with the trained weights; its second argument are the gathered weights of a model that is split
    # among processes, else None
    save_weights: Callable[[Path, dict[str, torch.Tensor] | None], None]
    load_weights: Callable[[Path], None]  # loads them into the model, which must not be split yet
    facts: dict[str, Any]  # must be the same when the run resumes: sizes of the data, number of processes
    uploads: HubUploads | None = None  # set on the process that uploads weights during the run

    def save(self, step: int, best_step: int, state: dict[str, Any]) -> None:
        """Save a checkpoint. All processes must call it.

        Args:
            step: optimizer steps taken.
            best_step: the step of the best weights so far; 0 if there are none.
            state: of the loop: numbers, texts, tensors, and containers of them.

        Raises OSError: it cannot be written; the message names the newest checkpoint that is whole.
        """
        random_states = gather_object([random_state()])
        weights = self._whole_weights()

        def write(folder: Path) -> None:
            (folder / WEIGHTS).mkdir()
            self.save_weights(folder / WEIGHTS, weights)
            torch.save({"loop": state, "random": random_states}, folder / STATE)

        self.store.save(self.stage, step, write, {**self.facts, "best_step": best_step})
        if self.uploads is not None:
            self.uploads.offer("every_save", self.stage, step, self.store.state(self.stage, step) / WEIGHTS)
        self.accelerator.wait_for_everyone()

    def restore_weights(self, checkpoint: Checkpoint) -> None:
        """Load the weights, before the model is prepared.

        Raises ValueError: the checkpoint was made with other data or another number of processes.
        """
        for name, value in self.facts.items():
            if name in ("data", "model", "finished"):  # not what must be equal, or compared before, with more to say
                continue
            if (before := checkpoint.facts.get(name)) != value:
                raise ValueError(
                    f"checkpoint {checkpoint.path} was made with {name} {before}, this run has {value}: resume with "
                    "what it was made with, or start in another output_dir"
                )
        self.load_weights(checkpoint.path / WEIGHTS)

    @contextlib.contextmanager
    def restored_state(self, checkpoint: Checkpoint) -> Iterator[dict[str, Any]]:
        """Restore the random generators, and give the state that the loop loads in the block.

        Raises OSError: the file is damaged or holds more than tensors and plain values; or the block finds that its
            content does not fit.
        """
        path = checkpoint.path / STATE
        check_archive(path)
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            restore_random_state(saved["random"][self.accelerator.process_index])
            yield saved["loop"]
        except torch.OutOfMemoryError:
            raise
        except (*OTHERS_ERRORS, ValueError) as error:
            raise OSError(
                f"{path} is no state to resume this run from ({type(error).__name__}: {one_line(error)}); remove "
                f"{checkpoint.path}, and the run resumes from the checkpoint before it"
            ) from error

    def save_best(self, step: int) -> None:
        """Save the best weights so far. All processes must call it."""
        weights = self._whole_weights()
        self.store.save_best(self.stage, step, lambda folder: self.save_weights(folder, weights))
        if self.uploads is not None:
            self.uploads.offer("best", self.stage, step, self.store.best(self.stage, step))

    def load_best(self, step: int) -> None:
        """Load the best weights, those of `step`, unless the model is split among processes."""
        self.accelerator.wait_for_everyone()
        if not is_cut(self.accelerator):
            self.load_weights(self.store.best(self.stage, step))

    def _whole_weights(self) -> dict[str, torch.Tensor] | None:
        """What `save_weights` is given."""
        return module_state(self.accelerator, self.model) if is_cut(self.accelerator) else None


def save_adapter(model: PeftModel, folder: Path, weights: dict[str, torch.Tensor] | None = None) -> None:
    """Save an adapter without PEFT's empty model card; `weights` are those of a model that is split."""
    # no embedding layer is adapted; PEFT would ask the Hub about the base model to find that out
    model.save_pretrained(str(folder), save_embedding_layers=False, state_dict=weights)
    (folder / "README.md").unlink()


def load_adapter_weights(model: PeftModel, folder: Path) -> None:
    """Load saved adapter weights into a PEFT model with the same adapter.

    Raises:
        OSError: the folder has no weights, or they are damaged.
        ValueError: the folder holds other tensors than the adapter.
    """
    put_adapter(model, read_adapter(folder), folder)


def load_model_weights(model: nn.Module, folder: Path) -> None:
    """Load a saved model's weights, in one or several safetensors files.

    Raises:
        OSError: a file is damaged.
        ValueError: a tensor is missing, unknown or of another shape.
    """
    weights: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("[!.]*.safetensors")):
        try:
            weights.update(load_file(path))
        except SafetensorError as error:
            raise OSError(f"{path} is damaged ({error}); copy it again, or remove its checkpoint") from error
    wanted = model.state_dict()
    for what, names in (
        ("lacks", wanted.keys() - weights.keys()),
        ("has the unknown", weights.keys() - wanted.keys()),
    ):
        if names:
            raise ValueError(f"{folder} {what} tensor {min(names)} ({len(names)} in all): it is not of this model")
    for name, value in wanted.items():
        if not weights[name].isfinite().all():
            raise ValueError(f"{folder} holds NaN or infinity in tensor {name}; take the weights of an earlier step")
        if weights[name].shape != value.shape:
            shapes = f"{tuple(weights[name].shape)} there and {tuple(value.shape)} here"
            raise ValueError(f"{folder} is not of this model: tensor {name} is {shapes}")
    model.load_state_dict(weights, strict=True)


def check_restored(optimizer: torch.optim.Optimizer, schedule: LRScheduler, own: dict[str, Any]) -> None:
    """Check that loaded states are of the kinds of `own`, the [`settings_of`] both had before.

    Raises ValueError: a value is of another kind, or a moment of another shape than its parameter.
    """
    _check_kinds(settings_of(optimizer, schedule), own, "state")
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if not isinstance(value, torch.Tensor) or value.shape not in (parameter.shape, torch.Size()):
                raise ValueError(
                    f"{name} of the optimizer is not of the shape {tuple(parameter.shape)} of its weights"
                )


def settings_of(optimizer: torch.optim.Optimizer, schedule: LRScheduler) -> dict[str, Any]:
    """The numbers of an optimizer and a schedule, without weights and moments."""
    groups = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    return {"optimizer": groups, "schedule": schedule.state_dict()}


def _check_kinds(loaded: Any, own: Any, place: str) -> None:
    if isinstance(own, dict | list | tuple):
        if not isinstance(loaded, dict if isinstance(own, dict) else list | tuple) or len(loaded) < len(own):
            raise ValueError(f"{place} is not what it was saved as")
        for key, value in own.items() if isinstance(own, dict) else enumerate(own):
            _check_kinds(loaded[key], value, f"{place}.{key}")
    elif isinstance(own, int | float) and not isinstance(own, bool):
        if not (isinstance(loaded, int | float) and abs(loaded) < 1e30):
            raise ValueError(f"{place} is no number")


def random_state() -> dict[str, Any]:
    """The states of Python's, numpy's and torch's generators, of the CPU and of every CUDA device."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys, np.int64)), int(position), int(has_gauss), float(gauss)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Restore what `random_state` returned."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


__all__ = [
    "StageCheckpoints",
    "check_restored",
    "load_adapter_weights",
    "load_model_weights",
    "save_adapter",
    "settings_of",
]
