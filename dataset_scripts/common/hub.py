"""Uploading a folder to a repository of the Hub, with care for who may see it."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from huggingface_hub import CommitInfo, HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import validate_repo_id

from dataset_scripts.common.hub_errors import hub_errors_in_words

__all__ = ["PushedRepository", "check_repo_id", "open_repository", "push_folder"]

PAUSES = (2.0, 10.0)  # seconds before the second and the third try
LONGEST_PAUSE = 60.0  # seconds, whatever the Hub asks for
PASSING = (409, 412, 429)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PushedRepository:
    """Where a folder was uploaded to.

    Attributes:
        repo_id: `USER/NAME`.
        url: of the repository's page.
        commit: id of the newest commit; the same as before where nothing had changed.
        private: only those who are let in can see it.
        left_out: files that lay beside what was uploaded.
    """

    repo_id: str
    url: str
    commit: str
    private: bool
    left_out: tuple[str, ...] = ()


def check_repo_id(repo_id: str, setting: str = "repo") -> None:
    """Refuses a name that no repository of a user can have.

    Args:
        repo_id: the name.
        setting: that it was given by.

    Raises:
        ValueError: it is not of the form `USER/NAME`, or has signs that the Hub does not take.
    """
    if repo_id.count("/") != 1:
        raise ValueError(f"{setting} is {repo_id!r}, but must be USER/NAME.")
    validate_repo_id(repo_id)


def open_repository(repo_id: str, repo_type: str, *, private: bool, token: str | None = None) -> tuple[str, bool]:
    """Makes a repository where there is none; one that exists keeps its visibility.

    Args:
        repo_id: `USER/NAME`.
        repo_type: `"model"` or `"dataset"`.
        private: False makes a new repository public; True refuses a public one.
        token: of the Hub; by default that of `hf auth login` or `HF_TOKEN`.

    Returns:
        The address of its page, and whether it is private.

    Raises:
        ValueError: the repository is public and should be private.
        OSError: the Hub refuses, fails or cannot be reached.
    """
    api = HfApi(token=token)
    with hub_errors_in_words(repo_id, "pushed"):
        url = api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
        # Making a repository that exists asks for no rights, and leaves its visibility: look before anything is sent.
        api.auth_check(repo_id, repo_type=repo_type, write=True)
        is_private = bool(api.repo_info(repo_id, repo_type=repo_type).private)
    if not is_private and private:
        raise ValueError(
            f"{repo_id} exists and is public. Make it private on its page, choose another name, or say that it shall "
            "be public: --public, and with prompt-clip train --no_hub_private_repo."
        )
    return str(url), is_private


def push_folder(
    folder: Path,
    repo_id: str,
    repo_type: str,
    *,
    private: bool,
    message: str,
    replaced: Sequence[str],
    allowed: Sequence[str] | None = None,
    token: str | None = None,
) -> PushedRepository:
    """Uploads a folder, making the repository where there is none; a repository that exists keeps its visibility.

    Args:
        folder: what is uploaded, as it is.
        repo_id: `USER/NAME`.
        repo_type: `"model"` or `"dataset"`.
        private: False makes a new repository public; True refuses to fill a public one.
        message: of the commit.
        replaced: patterns of files that an earlier push may have left and that are removed, unless uploaded now.
        allowed: patterns of the files that are uploaded; all when left out.
        token: of the Hub; by default that of `hf auth login` or `HF_TOKEN`.

    Raises:
        ValueError: the repository is public and should be private.
        OSError: the Hub refuses, fails or cannot be reached.
    """
    url, is_private = open_repository(repo_id, repo_type, private=private, token=token)
    if is_private and not private:
        logger.warning("%s exists and is private; it stays private", repo_id)
    upload = partial(
        HfApi(token=token).upload_folder,
        repo_id=repo_id,
        repo_type=repo_type,
        folder_path=folder,
        allow_patterns=allowed,
        delete_patterns=replaced,
        commit_message=message,
    )
    with hub_errors_in_words(repo_id, "pushed"):
        commit = _patiently(upload)
    return PushedRepository(repo_id, url, commit.oid, is_private)


def _patiently(upload: Callable[[], CommitInfo]) -> CommitInfo:
    """Tries again after what may pass: somebody else's commit, too many requests, a fault of the Hub.

    What has been uploaded is not sent again. Single requests that are lost, `huggingface_hub` repeats by itself.
    """
    for pause in PAUSES:
        try:
            return upload()
        except HfHubHTTPError as error:
            status = error.response.status_code
            if status not in PASSING and status < 500:
                raise
            told = error.response.headers.get("Retry-After", "")
            wait = min(float(told), LONGEST_PAUSE) if told.isdecimal() else pause
            logger.warning("the Hub answers with status %d; next try in %g s", status, wait)
            time.sleep(wait)
    return upload()
