"""What the Hub for tests (`hub_server`) keeps in memory: users, repositories, requests so far, faults to come."""

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Commit", "Fault", "Hub", "HubError", "Repository", "Request", "StoredFile", "is_large"]

# Larger files, and those of the kinds that the Hub tracks from the start, are uploaded by git-LFS.
_LFS_BYTES = 10_000_000
_LFS_ENDINGS = (".bin", ".parquet", ".png", ".pt", ".safetensors")


class HubError(Exception):
    """An error answer: status, message, and the code that clients distinguish errors by."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(status, message, code)  # as it is pickled
        self.status = status
        self.message = message
        self.code = code


class Request(NamedTuple):
    """One request: method, path without query, query, headers with names in lower case, body."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class StoredFile(NamedTuple):
    """One file of a commit: content, and whether it came by git-LFS."""

    content: bytes
    lfs: bool

    @property
    def oid(self) -> str:
        """SHA-256 of a git-LFS file, git's blob id of another."""
        return hashlib.sha256(self.content).hexdigest() if self.lfs else self.blob_id

    @property
    def blob_id(self) -> str:
        """Git's id of the content."""
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


class Commit(NamedTuple):
    """A state of a repository."""

    sha: str
    files: Mapping[str, StoredFile]
    message: str


@dataclass
class Repository:
    """A model or data set.

    Attributes:
        kind: `model`, `dataset` or `space`.
        repo_id: `USER/NAME`.
        private: only its owner sees it.
        commits: oldest first; the first is empty.
    """

    kind: str
    repo_id: str
    private: bool
    commits: list[Commit] = field(default_factory=lambda: [Commit("0" * 40, {}, "initial commit")])

    def commit(self, revision: str) -> Commit:
        """Returns the state of a revision. Raises HubError where there is none."""
        if revision in ("main", "HEAD"):
            return self.commits[-1]
        for commit in self.commits:
            if commit.sha == revision:
                return commit
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def add_commit(self, files: Mapping[str, StoredFile], message: str) -> Commit:
        """Add a commit."""
        parent = self.commits[-1].sha
        contents = "".join(f"{path}:{file.oid};" for path, file in sorted(files.items()))
        sha = hashlib.sha1(f"{parent}{message}{contents}".encode()).hexdigest()
        self.commits.append(Commit(sha, files, message))
        return self.commits[-1]


@dataclass
class Fault:
    """A fault of the next `times` matching requests.

    Attributes:
        path: regular expression, searched in the path.
        method: of the request; None for any.
        status: of the answer; None: the connection is closed without one.
        times: requests left that fail.
        content: of the answer; `{authorization}` in it stands for that header of the request.
        headers: of the answer, such as `Retry-After`.
    """

    path: str
    method: str | None
    status: int | None
    times: int
    content: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Hub:
    """The state of the server; tests read and change it.

    Attributes:
        url: of the server.
        users: token -> user.
        repositories: (kind, repo_id) -> repository.
        large_files: SHA-256 -> content of what was uploaded by git-LFS, committed or not.
        requests: every request so far, in the order of arrival.
        faults: what is to go wrong.
    """

    url: str = ""
    users: dict[str, str] = field(default_factory=lambda: {"hf_alice": "alice", "hf_bob": "bob"})
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    large_files: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def token(self) -> str:
        """Token of the first user, alice."""
        return next(iter(self.users))

    def environment(self, home: str, token: str | None = None) -> dict[str, str]:
        """Variables with which a child process uses this Hub, as alice or with another `token` ("" for none).

        Args:
            home: folder for what the child keeps in `~/.cache/huggingface`.
        """
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": home,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": self.token if token is None else token,
        }

    def fail(
        self,
        path: str,
        status: int,
        times: int = 1,
        method: str | None = None,
        message: str = "a fault that the test asked for",
        **headers: str,
    ) -> None:
        """Answer the next `times` requests with a matching path by `status`; `Retry_After="0"` adds a header."""
        self.faults.append(Fault(path, method, status, times, json.dumps({"error": message}), headers))

    def drop(self, path: str, times: int = 1, method: str | None = None) -> None:
        """Close the connection of the next `times` requests with a matching path."""
        self.faults.append(Fault(path, method, None, times))

    def impersonate(self, content: str) -> None:
        """Answer every request as something that is not a Hub."""
        self.faults.append(Fault("", None, 200, 1_000_000, content))

    def heal(self) -> None:
        """Remove all faults."""
        self.faults.clear()

    def clear(self) -> None:
        """Forget repositories, requests and faults."""
        with self.lock:
            for things in (self.repositories, self.large_files, self.requests, self.faults):
                things.clear()

    def fault_of(self, request: Request) -> Fault | None:
        """Use up the first fault that matches a request."""
        for fault in self.faults:
            if fault.times and fault.method in (None, request.method) and re.search(fault.path, request.path):
                fault.times -= 1
                return fault
        return None

    def repository(self, kind: str, repo_id: str) -> Repository:
        """Returns a repository. Raises HubError where there is none."""
        if (kind, repo_id) not in self.repositories:
            raise HubError(404, f"Repository {repo_id} not found", "RepoNotFound")
        return self.repositories[kind, repo_id]

    def add_repository(
        self, kind: str, repo_id: str, files: Mapping[str, bytes] | None = None, private: bool = False
    ) -> Repository:
        """Add a repository with one commit, without a client."""
        repository = self.repositories[kind, repo_id] = Repository(kind, repo_id, private)
        if files:
            stored = {path: StoredFile(content, is_large(path, len(content))) for path, content in files.items()}
            repository.add_commit(stored, "added by the test")
        return repository

    def add_commit(self, kind: str, repo_id: str, files: Mapping[str, StoredFile], message: str) -> Commit:
        """Add a commit to a repository, without a client."""
        return self.repository(kind, repo_id).add_commit(files, message)

    def files(self, kind: str, repo_id: str) -> dict[str, bytes]:
        """Returns the newest state of a repository: path -> content."""
        return {path: file.content for path, file in self.repository(kind, repo_id).commits[-1].files.items()}

    def requested(self, path: str, method: str | None = None) -> list[Request]:
        """The requests so far whose path matches a regular expression."""
        return [
            request for request in self.requests if re.search(path, request.path) and method in (None, request.method)
        ]


def is_large(path: str, size: int) -> bool:
    """Whether a file must be uploaded by git-LFS."""
    return size > _LFS_BYTES or path.endswith(_LFS_ENDINGS)
