"""Move the best weights of a finished stage from the checkpoints into the run folder."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from dataset_scripts.common.files import new_folder, sync
from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor
from trainers.run_folder.checkpoint_store import CheckpointStore
from trainers.run_folder.folder import RunFolder
from trainers.run_folder.hashes import check_hashes, file_hashes
from trainers.stages.starting_model import merged_adapter


@dataclass
class RunWeights:
    """Moves weights to their place once, however often a run is killed and resumes; one process moves."""

    accelerator: Accelerator
    run: RunFolder
    store: CheckpointStore
    processor: PromptCLIPProcessor

    def save_model(self, model: PromptCLIPModel, folder: Path, weights: dict[str, torch.Tensor] | None = None) -> None:
        """Save a whole model and its processor; `weights` are those of a model that is split."""
        model.save_pretrained(str(folder), state_dict=weights)
        self.processor.save_pretrained(str(folder))

    def place_adapter(self, best_step: int) -> None:
        """Move stage one's best prompts to `adapter/`. All processes must call it."""
        self._place("one", best_step, self.run.adapter)

    def place_model(self, best_step: int, low_rank_of: PromptCLIPModel | None = None) -> None:
        """Move stage two's best weights to `model/`. All processes must call it.

        Args:
            best_step: of these weights.
            low_rank_of: the model that low-rank updates are merged into.
        """
        if low_rank_of is not None and self.accelerator.is_main_process and not self.run.model.exists():
            whole = self.run.checkpoints / "merged"  # where a kill leaves nothing that is not cleared
            if whole.exists() and not self._is_noted("two", whole):
                shutil.rmtree(whole)
            if not whole.exists():
                merged = merged_adapter(low_rank_of, str(self.store.best("two", best_step)))
                with new_folder(whole) as folder:
                    self.save_model(merged, folder)
                self.run.note("two", weights=file_hashes(whole))
            whole.rename(self.run.model)
            sync(self.run.path)
        self._place("two", best_step, self.run.model)

    def _is_noted(self, stage: str, folder: Path) -> bool:
        """Whether a folder has the hashes that `progress.json` records for a stage."""
        try:
            check_hashes(folder, self.run.finished()[stage]["weights"])
        except (OSError, ValueError, KeyError):
            return False
        return True

    def _place(self, stage: str, best_step: int, target: Path) -> None:
        """Move a stage's best weights, where that has not been done yet."""
        best = self.store.best(stage, best_step)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process and not target.exists():
            best.rename(target)
            sync(self.run.path)
        self.accelerator.wait_for_everyone()


__all__ = ["RunWeights"]
