"""Upload a folder to a Hub repository, respecting its visibility."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import CommitInfo, HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import validate_repo_id

from dataset_scripts.common.hub_errors import hub_errors_in_words

__all__ = ["PushedRepository", "Repository", "check_repo_id", "open_repository", "push_folder", "upload_folder"]

PAUSES = (2.0, 10.0)  # seconds before the second and the third try
LONGEST_PAUSE = 60.0  # seconds, whatever the Hub asks for
PASSING = (409, 412, 429)

logger = logging.getLogger(__name__)


class Repository(NamedTuple):
    """A Hub repository: `USER/NAME`, page URL and whether it is private."""

    repo_id: str
    url: str
    private: bool


@dataclass(frozen=True)
class PushedRepository:
    """Where a folder was uploaded to."""

    repo_id: str  # `USER/NAME`
    url: str  # of the repository's page
    commit: str  # id of the newest commit; unchanged if nothing differed
    private: bool  # whether the repository is private
    left_out: tuple[str, ...] = ()  # files of the folder that were not uploaded


def check_repo_id(repo_id: str, setting: str = "repo") -> None:
    """Raise ValueError if `repo_id`, given by `setting`, is not a valid `USER/NAME`."""
    if repo_id.count("/") != 1:
        raise ValueError(f"{setting} is {repo_id!r}, but must be USER/NAME.")
    validate_repo_id(repo_id)


def open_repository(
    repo_id: str, repo_type: str, *, private: bool, token: bool | str | None = None, write: bool = True
) -> Repository:
    """Create a repository if missing; an existing one keeps its visibility.

    Args:
        repo_id: `USER/NAME`, or `NAME` for the caller's own.
        repo_type: `"model"` or `"dataset"`.
        private: False makes a new repository public; True refuses a public one.
        token: of the Hub; by default that of `hf auth login` or `HF_TOKEN`.
        write: require the right to write, which a pull request does without.

    Raises:
        ValueError: the repository is public but should be private.
        OSError: the Hub refuses, fails or cannot be reached.
    """
    api = HfApi(token=token)
    with hub_errors_in_words(repo_id, "pushed"):
        url = api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
        repo_id = url.repo_id
        # Making a repository that exists asks for no rights, and leaves its visibility: look before anything is sent.
        if write:
            api.auth_check(repo_id, repo_type=repo_type, write=True)
        is_private = bool(api.repo_info(repo_id, repo_type=repo_type).private)
    if not is_private and private:
        raise ValueError(
            f"{repo_id} exists and is public. Make it private on its page, choose another name, or say that it shall "
            "be public: private=False in Python, --public, or prompt-clip train --no_hub_private_repo."
        )
    return Repository(repo_id, str(url), is_private)


def push_folder(
    folder: Path,
    repo_id: str,
    repo_type: str,
    *,
    private: bool,
    message: str,
    replaced: Sequence[str],
    allowed: Sequence[str] | None = None,
    token: bool | str | None = None,
) -> PushedRepository:
    """Upload a folder, creating the repository if missing.

    Args:
        folder: what is uploaded.
        repo_id, repo_type, private, token: as in `open_repository`.
        message: of the commit.
        replaced: patterns of files from earlier pushes to delete unless uploaded again.
        allowed: patterns of the files to upload; all by default.

    Raises:
        ValueError: the repository is public but should be private.
        OSError: the Hub refuses, fails or cannot be reached.
    """
    opened = open_repository(repo_id, repo_type, private=private, token=token)
    if opened.private and not private:
        logger.warning("%s exists and is private; it stays private", repo_id)
    commit = upload_folder(
        folder, opened.repo_id, repo_type, message=message, replaced=replaced, allowed=allowed, token=token
    )
    return PushedRepository(opened.repo_id, opened.url, commit.oid, opened.private)


def upload_folder(
    folder: Path,
    repo_id: str,
    repo_type: str,
    *,
    message: str,
    replaced: Sequence[str],
    allowed: Sequence[str] | None = None,
    description: str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    token: bool | str | None = None,
) -> CommitInfo:
    """Upload a folder to an existing repository, retrying while busy.

    Args:
        folder, repo_id, repo_type, message, replaced, allowed, token: as in `push_folder`.
        description: of the commit.
        revision: an existing branch; by default the main one.
        create_pr: open a pull request instead of committing.

    Raises OSError: the Hub refuses, fails or cannot be reached.
    """
    upload = partial(
        HfApi(token=token).upload_folder,
        repo_id=repo_id,
        repo_type=repo_type,
        folder_path=folder,
        allow_patterns=allowed,
        delete_patterns=replaced,
        commit_message=message,
        commit_description=description,
        revision=revision,
        create_pr=create_pr,
    )
    with hub_errors_in_words(repo_id, "pushed"):
        return _patiently(upload)


def _patiently(upload: Callable[[], CommitInfo]) -> CommitInfo:
    """Retry after conflicts, rate limits and server faults; uploaded files are not resent."""
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
