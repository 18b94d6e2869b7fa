"""Push what `save_pretrained` writes through the common push."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from dataset_scripts.common.files import scratch_folder
from dataset_scripts.common.hub import open_repository, upload_folder
from modeling_prompt_clip.hub.card_there import CARD, card_there, has_figures
from modeling_prompt_clip.hub.remote_code import complete_upload

__all__ = ["Push", "push_saved", "split_options"]

RECORDS = ["results.json", "config.yaml", "plots/*"]  # of the run that other weights were from

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Push:
    """Destination and commit of an upload."""

    # only False makes a new repository public, or fills a public one: models of this kind find people
    private: bool | None = True
    token: bool | str | None = None  # of the Hub; by default that of `hf auth login` or `HF_TOKEN`
    revision: str | None = None  # an existing branch; by default the main one
    create_pr: bool = False  # open a pull request instead of changing the branch
    commit_message: str | None = None  # of the commit; a message is made up by default
    commit_description: str | None = None  # of the commit; a message is made up by default


def split_options(options: Mapping[str, Any]) -> tuple[Push, dict[str, Any]]:
    """Separate fields of [`Push`] from options of `save_pretrained`."""
    names = {field.name for field in fields(Push)} & options.keys()
    return Push(**{name: options[name] for name in names}), {
        name: value for name, value in options.items() if name not in names
    }


def push_saved(
    save: Callable[[Path], Any],
    repo_id: str,
    push: Push,
    *,
    message: str,
    new_card: Callable[[str], str] | None = None,
    tags: Sequence[str] = (),
    replaced: Sequence[str] = (),
) -> str:
    """Save to a scratch folder, add code and a card, and upload.

    A repository's card stays, unless it reports a run's figures, which are then of other weights.

    Args:
        save: writes the files into a folder.
        repo_id: `USER/NAME`, or `NAME` for the caller's own; created if missing.
        message: of the commit, unless `push` has one.
        new_card: writes a card for `USER/NAME`; None uploads none.
        tags: for a new card, added to its own.
        replaced: patterns of files from earlier pushes to delete unless uploaded again.

    Returns: URL of the commit or pull request.

    Raises:
        ValueError: the repository is public but should be private.
        OSError: the Hub refuses, fails or cannot be reached; nothing is uploaded if a card cannot be read.
    """
    private = push.private is not False
    opened = open_repository(repo_id, "model", private=private, token=push.token, write=not push.create_pr)
    repo_id = opened.repo_id
    there = card_there(repo_id, push.revision, push.token) if new_card else None
    of_a_run = has_figures(there)
    with scratch_folder("prompt_clip_push") as folder:
        save(folder)
        for card in folder.rglob(CARD):  # PEFT's own, which says nothing and names folders of this machine
            card.unlink()
        complete_upload(folder)
        if of_a_run:
            logger.warning("%s has the card and the figures of other weights, which go", repo_id)
        if new_card and (there is None or of_a_run):
            text = ModelCard(new_card(repo_id))
            text.data["tags"] = [*text.data["tags"], *tags]
            Path(folder, CARD).write_text(str(text), encoding="utf-8")
        commit = upload_folder(
            folder,
            repo_id,
            "model",
            message=push.commit_message or message,
            description=push.commit_description,
            replaced=[*replaced, *(RECORDS if of_a_run else ())],
            revision=push.revision,
            create_pr=push.create_pr,
            token=push.token,
        )
    return commit.pr_url or commit.commit_url
