"""Uploads to the Hub that are private by default."""

import importlib
import os
import tempfile
from functools import wraps
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from transformers.utils import PushToHubMixin

HUB_OPTIONS = (
    *("private", "token", "revision", "create_pr", "commit_message", "commit_description", "tags"),
    *("license", "processor"),
)


def open_private_repository(api: HfApi, repo_id: str, private: bool | None) -> str:
    """Create a repository if missing, and refuse a public one that should be private.

    Args:
        api: with the caller's token.
        repo_id: `USER/NAME`, or `NAME` for the caller's own.
        private: only False makes a new repository public, or fills a public one.

    Returns:
        `USER/NAME`.

    Raises:
        ValueError: the repository is public and should be private.
        huggingface_hub.errors.HfHubHTTPError: the Hub refuses or fails.
    """
    private = private is not False
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    # making one that exists leaves its visibility: look before anything is sent
    if private and not api.repo_info(repo_id).private:
        raise ValueError(f"{repo_id} exists and is public; pass private=False if that is meant, or name another")
    return repo_id


def in_package() -> bool:
    """Whether this code is the installed package's, not a copy from the Hub."""
    return __name__ == "modeling_prompt_clip.private_uploads"


class PrivateUploads:
    """Mixin, placed before transformers' class, that makes its uploads private."""

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: bool | str | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        commit_message: str | None = None,
        commit_description: str | None = None,
        tags: list[str] | None = None,
        **save_options: Any,
    ) -> str:
        """Upload what `save_pretrained` writes, with the code that loads it; an existing card is kept.

        Args:
            repo_id: `USER/NAME`; created if missing.
            private: only False makes a new repository public, or fills a public one.
            token, create_pr, commit_message, commit_description: as for `HfApi.upload_folder`.
            revision: an existing branch; by default the main one.
            tags: not used: a card comes with a model.
            **save_options: for `save_pretrained`.

        Returns:
            URL of the commit or pull request.

        Raises:
            ValueError: the repository is public and should be private.
            huggingface_hub.errors.HfHubHTTPError: the Hub refuses or fails.
        """
        api = HfApi(token=token)
        repo_id = open_private_repository(api, repo_id, private)
        with tempfile.TemporaryDirectory(prefix="prompt_clip_push.") as folder:
            self.save_pretrained(folder, **save_options)
            if in_package():  # transformers sends code along that came from the Hub
                _hub().complete_upload(folder)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=commit_message or f"Upload {type(self).__name__}",
                commit_description=commit_description,
                revision=revision,
                create_pr=create_pr,
            )
        return commit.pr_url or commit.commit_url

    def save_pretrained(
        self, save_directory: str | os.PathLike, push_to_hub: bool = False, **options: Any
    ) -> tuple[str, ...] | list[str] | None:
        """Save to a folder as transformers does; with `push_to_hub`, upload it privately.

        Args:
            save_directory: folder; its name is the repository's unless `repo_id` is given.
            push_to_hub: also upload.
            **options: for saving; with `push_to_hub` also `repo_id` and the arguments of the `push_to_hub` method.
        """
        if not push_to_hub:
            return super().save_pretrained(save_directory, **options)
        repo_id = options.pop("repo_id", None) or Path(save_directory).absolute().name
        upload_options = {name: options.pop(name) for name in HUB_OPTIONS if name in options}
        saved = super().save_pretrained(save_directory, **options)
        if options.get("is_main_process", True):
            self._push_saved(save_directory, repo_id, upload_options, options)
        return saved

    def _push_saved(
        self, save_directory: str | os.PathLike, repo_id: str, upload_options: dict[str, Any], options: dict[str, Any]
    ) -> None:
        self.push_to_hub(repo_id, **upload_options, **options)


def keep_pipelines_private() -> None:
    """Wrap transformers' `push_to_hub`, once a process, so that pipelines around our models are private.

    transformers creates a pipeline's repository, public, before it asks the model. Other objects are unaffected.
    """
    theirs = PushToHubMixin.push_to_hub
    if getattr(theirs, "keeps_prompt_clip_private", False):
        return

    @wraps(theirs)
    def push_to_hub(self: PushToHubMixin, repo_id: str, **options: Any) -> str:
        if isinstance(getattr(self, "model", None), PrivateUploads):
            repo_id = open_private_repository(HfApi(token=options.get("token")), repo_id, options.get("private"))
        return theirs(self, repo_id, **options)

    push_to_hub.keeps_prompt_clip_private = True
    PushToHubMixin.push_to_hub = push_to_hub


def _hub() -> Any:
    """Import lazily and by name: transformers scans remote code for import statements."""
    return importlib.import_module("modeling_prompt_clip.hub")


__all__ = ["PrivateUploads", "keep_pipelines_private"]
