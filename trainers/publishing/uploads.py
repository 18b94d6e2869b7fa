"""Uploads during a run, which never stop the training."""

import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from dataset_scripts.common.hub import open_repository, push_folder
from modeling_prompt_clip.hub import add_remote_code
from trainers.arguments.resolved import is_private_base
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.publishing.content import copy_weights, name_base_model, public_config
from trainers.publishing.hub_card import card_in_progress
from trainers.publishing.push import REPLACED
from trainers.run_folder.folder import RunFolder

FOLDER = ".upload."  # how the folders of uploads begin, in the run folder

logger = logging.getLogger(__name__)


class HubUploads:
    """Uploads of prompts in stage one, the model in stage two.

    One at a time: weights that become due during an upload are skipped, as the finished run is pushed anyway.

    Args:
        args: settings of the run, with `hub_model_id` set.
        run: its folder.
    """

    def __init__(self, args: TwoStageTrainingArguments, run: RunFolder) -> None:
        self.args = args
        self.run = run
        self._thread: threading.Thread | None = None
        self._explained = False

    def open(self, goes_on: bool = False) -> None:
        """Create the repository before training, so that its errors come early.

        Args:
            goes_on: the run is resumed, and a Hub that fails does not stop it.

        Raises:
            ValueError: it is public and should be private, or the run only makes prompts of a private base model.
            OSError: the Hub refuses, fails or cannot be reached.
        """
        for left in self.run.path.glob(f"{FOLDER}*"):  # by a run that was killed
            shutil.rmtree(left)
        if "two" not in self.args.stages and is_private_base(self.args.base_model):
            raise ValueError(
                f"push_to_hub is set, but stage one leaves prompts of base_model {self.args.base_model!r}, which "
                "nobody else has; run stage two as well, or start from a base model on the Hub"
            )
        try:
            opened = open_repository(self.args.hub_model_id, "model", private=self.args.hub_private_repo)
        except OSError as error:
            if not goes_on:
                raise
            logger.warning("%s Training continues.", error)
            return
        logger.info("the run will be at %s (%s)", opened.url, "private" if opened.private else "public")

    def command(self) -> str:
        """Return the command that uploads the finished run."""
        options = ("" if "two" in self.args.stages else " --adapter_only") + (
            "" if self.args.hub_private_repo else " --public"
        )
        return f"prompt-clip push {self.run.path} --repo {self.args.hub_model_id}{options}"

    def offer(self, occasion: str, stage: str, step: int, weights: Path) -> None:
        """Start an upload of weights if `hub_strategy` wants one now.

        Args:
            occasion: `"best"` or `"every_save"`.
            stage: `"one"` or `"two"`.
            step: optimizer steps taken in that stage.
            weights: the folder, which may change or disappear as soon as this returns.
        """
        if self.args.hub_strategy != occasion or self._cannot_be_sent(stage):
            return
        if self._thread is not None and self._thread.is_alive():
            logger.info("step %d of stage %s is not uploaded: the upload before it is on its way", step, stage)
            return
        content = self.run.path / f"{FOLDER}{stage}-{step}"
        try:
            copy_weights(weights, content, self.run.path, adapter_only=stage == "one")
            self._complete(content, stage, step)
        except (OSError, ValueError) as error:
            shutil.rmtree(content, ignore_errors=True)
            logger.warning("step %d of stage %s is not uploaded (%s). Training continues.", step, stage, error)
            return
        message = f"Weights of stage {stage}, step {step}"
        # a daemon: a program that ends does not wait for it, and half an upload changes no repository
        self._thread = threading.Thread(target=self._upload, args=(content, message), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for the upload under way."""
        if self._thread is not None:
            self._thread.join()

    def finish(self, push: Callable[[], object]) -> None:
        """Upload the finished run with `push`.

        Raises OSError: it fails; the message says how to try again.
        """
        self.wait()
        try:
            push()
        except (OSError, ValueError) as error:
            raise OSError(
                f"{error} The run itself is finished, its figures are in {self.run.path / 'README.md'}; to try again: "
                f"{self.command()}"
            ) from error

    def _cannot_be_sent(self, stage: str) -> bool:
        """Tell whether a stage's weights must wait; log why once."""
        if stage == "one" and is_private_base(self.args.base_model):
            reason = f"stage one's prompts belong to {self.args.base_model}, which nobody else has"
        elif stage == "two" and self.args.stage_two_lora_rank:
            reason = "stage two's low-rank updates are merged when it is done"
        else:
            return False
        if not self._explained:
            logger.info("%s: uploads come later", reason)
            self._explained = True
        return True

    def _complete(self, content: Path, stage: str, step: int) -> None:
        if stage == "two":
            add_remote_code(content)
        else:
            name_base_model(content, self.args.base_model)
        (content / "config.yaml").write_text(public_config(self.args), encoding="utf-8")
        (content / "README.md").write_text(card_in_progress(self.args, stage, step), encoding="utf-8")

    def _upload(self, content: Path, message: str) -> None:
        """Upload and remove a folder; errors only warn."""
        had_bars = not are_progress_bars_disabled()
        disable_progress_bars()  # they would be drawn across the training's own
        try:
            push_folder(
                content,
                self.args.hub_model_id,
                "model",
                private=self.args.hub_private_repo,
                message=message,
                replaced=REPLACED,
            )
        except (OSError, ValueError, RuntimeError) as error:  # the last is what hf-xet raises
            logger.warning("%s Training continues.", error)
        finally:
            shutil.rmtree(content, ignore_errors=True)
            if had_bars:
                enable_progress_bars()


__all__ = ["HubUploads"]
