"""Uploading a run to the Hub, private unless the user says otherwise."""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.utils import validate_repo_id

from dataset_scripts.hub_errors import hub_errors_in_words
from trainers.publishing.content import write_content

logger = logging.getLogger(__name__)

REPLACED = ["*.safetensors", "*.py", "*.json", "plots/*"]  # what an earlier push may have left


@dataclass(frozen=True)
class PushedModel:
    """Where a run was uploaded to.

    Attributes:
        repo_id: `USER/NAME`.
        url: of the repository's page.
        commit: id of the newest commit; the same as before where nothing had changed.
        private: only those who are let in can see it.
    """

    repo_id: str
    url: str
    commit: str
    private: bool


def push_run(
    folder: str | Path,
    repo_id: str,
    *,
    adapter_only: bool = False,
    private: bool = True,
    license: str | None = None,
    token: str | None = None,
) -> PushedModel:
    """Upload a finished run as a model repository; the run folder is not changed.

    Pushing again uploads what differs, removes what no longer belongs, and goes on where an interrupted push stopped.

    Args:
        folder: of the run.
        repo_id: `USER/NAME`; made where it does not exist.
        adapter_only: only the prompts of stage one, which name their base model.
        private: False makes a new repository public; one that exists keeps its visibility.
        license: identifier on the Hub; see `hub_card` for the default.
        token: of the Hub; by default that of `hf auth login` or `HF_TOKEN`.

    Raises:
        ValueError: no such name; a repository that is public and should be private; an adapter of a local base model.
        OSError: the run is not finished; the Hub refuses, fails or cannot be reached.
    """
    if repo_id.count("/") != 1:
        raise ValueError(f"repo is {repo_id!r}, but must be USER/NAME")
    validate_repo_id(repo_id)
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory(prefix="prompt_clip_push.") as temporary:
        content = Path(temporary, "content")
        write_content(folder, content, repo_id, adapter_only=adapter_only, license=license)
        with hub_errors_in_words(repo_id, "pushed"):
            url = api.create_repo(repo_id, repo_type="model", private=private, exist_ok=True)
            # making a repository that exists does not change who sees it: look before anything is sent
            is_private = bool(api.model_info(repo_id).private)
            if private and not is_private:
                raise ValueError(
                    f"{repo_id} exists and is public; make it private on its page, choose another name, or pass "
                    "--public"
                )
            if is_private and not private:
                logger.warning("%s exists and is private; it stays private", repo_id)
            commit = api.upload_folder(
                repo_id=repo_id,
                repo_type="model",
                folder_path=content,
                delete_patterns=REPLACED,
                commit_message="Upload adapter" if adapter_only else "Upload model",
            )
    return PushedModel(repo_id, str(url), commit.oid, is_private)


__all__ = ["PushedModel", "push_run"]
