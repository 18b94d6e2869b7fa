"""Uploads to the Hub, private by default."""

import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub import HfApi

COMMIT_OPTIONS = ("revision", "create_pr", "commit_message", "commit_description")
HUB_OPTIONS = ("private", "token", "tags", "license", "processor", *COMMIT_OPTIONS)


class PrivateUploads:
    """Mixin, placed before transformers' class, that makes its uploads private."""

    # The installed package sets it. Code that came from the Hub has no package, and uploads by itself.
    package_upload: ClassVar[Callable[..., str] | None] = None

    def push_to_hub(
        self, repo_id: str, *, private: bool | None = None, token: bool | str | None = None, **options: Any
    ) -> str:
        """Upload what `save_pretrained` writes, with its code, keeping an existing card.

        Args:
            repo_id: `USER/NAME`; created if missing.
            private: only False makes a new repository public, or fills a public one.
            token: of the Hub; by default that of `hf auth login` or `HF_TOKEN`.
            **options: `revision`, `create_pr`, `commit_message`, `commit_description` as for `HfApi.upload_folder`; of
                a model also `processor`, `license` and `tags`, see `hub.push_model`; others for `save_pretrained`.

        Returns: URL of the commit or pull request.

        Raises ValueError: the repository is public and should be private; OSError: the Hub refuses, fails or cannot be
        reached.
        """
        if self.package_upload is not None:
            return self.package_upload(repo_id, private=private, token=token, **options)
        api, private = HfApi(token=token), private is not False
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        # making one that exists leaves its visibility: look before anything is sent
        if private and not api.repo_info(repo_id).private:
            raise ValueError(f"{repo_id} exists and is public; pass private=False if that is meant, or name another")
        commit_options = {name: options.pop(name) for name in COMMIT_OPTIONS if name in options}
        for name in set(HUB_OPTIONS) & options.keys():  # of a card, which only the package writes
            del options[name]
        with tempfile.TemporaryDirectory(prefix="prompt_clip_push.") as folder:
            self.save_pretrained(folder, **options)  # transformers sends code along that came from the Hub
            commit = api.upload_folder(repo_id=repo_id, folder_path=folder, **commit_options)
        return commit.pr_url or commit.commit_url

    def save_pretrained(
        self, save_directory: str | os.PathLike, push_to_hub: bool = False, **options: Any
    ) -> tuple[str, ...] | list[str] | None:
        """Save as transformers does; with `push_to_hub`, upload privately.

        The folder's name is the repository's unless `repo_id` is given; other options are also that method's.
        """
        if not push_to_hub:
            saved = super().save_pretrained(save_directory, **options)  # type: ignore[misc]
            _share_weights(Path(save_directory))
            return saved
        repo_id = options.pop("repo_id", None) or Path(save_directory).absolute().name
        upload_options = {name: options.pop(name) for name in HUB_OPTIONS if name in options}
        saved = super().save_pretrained(save_directory, **options)  # type: ignore[misc]
        _share_weights(Path(save_directory))
        if options.get("is_main_process", True):
            beside: dict[str, Any] = {} if self.package_upload is None else {"saved_in": save_directory}
            self.push_to_hub(repo_id, **upload_options, **options, **beside)
        return saved


def _share_weights(folder: Path) -> None:
    """Make weights as readable as the settings beside them; safetensors 0.8 writes private ones."""
    settings = [path for path in (folder / "config.json", folder / "adapter_config.json") if path.is_file()]
    for weights in folder.glob("*.safetensors") if settings else ():
        wanted = stat.S_IMODE(weights.stat().st_mode | settings[0].stat().st_mode)
        with suppress(PermissionError):  # of another owner
            weights.chmod(wanted)


__all__ = ["PrivateUploads"]
