"""Uploads of finished runs to the Hub, private by default."""

import logging
from dataclasses import replace
from pathlib import Path

from dataset_scripts.common.files import scratch_folder
from dataset_scripts.common.hub import PushedRepository, check_repo_id, push_folder
from trainers.publishing.content import write_content

REPLACED = ["*.safetensors", "*.py", "*.json", "plots/*"]  # what an earlier push may have left

logger = logging.getLogger(__name__)


def push_run(
    folder: str | Path,
    repo_id: str,
    *,
    adapter_only: bool = False,
    private: bool = True,
    license: str | None = None,
    token: str | None = None,
) -> PushedRepository:
    """Upload a finished run as a model repository, without changing its folder.

    Only known files are uploaded, see `modeling_prompt_clip.hub.published_files`. Pushing again uploads changes,
    removes old files, and resumes an interrupted push.

    Args:
        folder: of the run.
        repo_id: `USER/NAME`; made where it does not exist.
        adapter_only: only the prompts of stage one, which name their base model.
        private: False makes a new repository public; one that exists keeps its visibility.
        license: identifier on the Hub; see `hub_card` for the default.
        token: of the Hub; by default that of `hf auth login` or `HF_TOKEN`.

    Raises:
        ValueError: no such name; a repository that is public and should be private; an adapter of a local base model;
            a link that leaves the run.
        OSError: the run is not finished; the Hub refuses, fails or cannot be reached.
    """
    check_repo_id(repo_id)
    with scratch_folder("prompt_clip_push") as temporary:
        content = temporary / "content"
        left_out = write_content(folder, content, repo_id, adapter_only=adapter_only, license=license)
        message = "Upload adapter" if adapter_only else "Upload model"
        if left_out:
            logger.warning("not uploaded, as no part of a published model: %s", ", ".join(left_out))
        pushed = push_folder(
            content, repo_id, "model", private=private, message=message, replaced=REPLACED, token=token
        )
    return replace(pushed, left_out=left_out)


__all__ = ["push_run"]
