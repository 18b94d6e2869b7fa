"""A Hub for tests: what `huggingface_hub` 2 needs of its HTTP interface to push and load models and data sets.

    with running_hub() as hub:
        api = HfApi(endpoint=hub.url, token=hub.token)
        api.create_repo("alice/set", repo_type="dataset", private=True)
        hub.fail("/commit/", status=500)  # the next commit fails
        assert hub.files("dataset", "alice/set") == {}

It answers in a process of its own (`hub_process`) and keeps everything in memory. What it insists on, as the Hub does:
a known token for what is private and for every change (401), one's own namespace (403), names that exist (404) and are
new (409), the parent commit that the client believes in (412), and the SHA-256 of what is uploaded (400).

Clients must have `HF_HUB_DISABLE_XET=1`: hf-xet speaks a protocol of its own. They find the server by `HF_ENDPOINT`,
which is read when `huggingface_hub` is imported; `Hub.environment` is what a child process needs.
"""

import base64
import hashlib
import json
import re
import urllib.parse
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple

import yaml

from hub_state import Commit, Hub, HubError, Repository, Request, StoredFile, is_large

__all__ = ["Handler"]


class Reply(NamedTuple):
    """The answer to a request."""

    content: bytes
    status: int = 200
    headers: Mapping[str, str] = {}


def _json(value: Any, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(json.dumps(value).encode(), status, {"Content-Type": "application/json", **named})


# --- who asks, and what for ---------------------------------------------------------------------------------------


def _user(hub: Hub, request: Request) -> str | None:
    """The user of a request, None for nobody. Raises HubError for a token that nobody has."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    user = hub.users.get(header.removeprefix("Bearer "))
    if user is None:
        raise HubError(401, "Invalid credentials in Authorization header")
    return user


def _visible(hub: Hub, request: Request, kind: str, repo_id: str) -> Repository:
    """A repository that the request may see; one that it may not see looks like one that does not exist."""
    user = _user(hub, request)
    repository = hub.repositories.get((kind, repo_id))
    if repository is None or (repository.private and user != repo_id.partition("/")[0]):
        raise HubError(404 if user else 401, f"Repository {repo_id} not found", "RepoNotFound")
    return repository


def _owned(hub: Hub, request: Request, kind: str, repo_id: str) -> Repository:
    """A repository that the request may change."""
    repository = _visible(hub, request, kind, repo_id)
    _check_owner(hub, request, repo_id)
    return repository


def _proposable(hub: Hub, request: Request, kind: str, repo_id: str) -> Repository:
    """A repository that the request may change, or may propose a change to."""
    return (_visible if _PROPOSAL in request.query else _owned)(hub, request, kind, repo_id)


def _check_owner(hub: Hub, request: Request, repo_id: str) -> None:
    user = _user(hub, request)
    if user is None:
        raise HubError(401, "Invalid username or password.")
    if user != repo_id.partition("/")[0]:
        raise HubError(403, f"You don't have the rights to write to {repo_id}")


# --- one function a route -----------------------------------------------------------------------------------------


def _whoami(hub: Hub, request: Request) -> Reply:
    user = _user(hub, request)
    if user is None:
        raise HubError(401, "Invalid username or password.")
    return _json({"name": user, "type": "user", "orgs": [], "auth": {"accessToken": {"role": "write"}}})


def _validate_yaml(hub: Hub, request: Request) -> Reply:
    return _json({"errors": [], "warnings": []})


def _may_write(hub: Hub, request: Request, kind: str, repo_id: str) -> Reply:
    _owned(hub, request, kind, repo_id)
    return _json({})


def _create(hub: Hub, request: Request) -> Reply:
    asked = json.loads(request.body)
    kind = asked.get("type") or "model"
    repo_id = f"{asked.get('organization') or _user(hub, request)}/{asked['name']}"
    _check_owner(hub, request, repo_id)
    url = f"{hub.url}/{'' if kind == 'model' else kind + 's/'}{repo_id}"
    if (kind, repo_id) in hub.repositories:
        return _json({"error": "You already created this repo", "url": url}, 409)
    private = asked.get("visibility") == "private" or bool(asked.get("private"))
    hub.add_repository(kind, repo_id, private=private)
    return _json({"url": url, "id": repo_id, "name": repo_id})


def _delete(hub: Hub, request: Request) -> Reply:
    asked = json.loads(request.body)
    kind = asked.get("type") or "model"
    repo_id = f"{asked.get('organization') or _user(hub, request)}/{asked['name']}"
    _owned(hub, request, kind, repo_id)
    del hub.repositories[kind, repo_id]
    return _json({})


def _info(hub: Hub, request: Request, kind: str, repo_id: str, revision: str | None) -> Reply:
    repository = _visible(hub, request, kind, repo_id)
    commit = repository.commit(revision or "main")
    card = _card(commit)
    return _json(
        {
            "_id": repo_id,
            "id": repo_id,
            "modelId": repo_id,
            "author": repo_id.partition("/")[0],
            "sha": commit.sha,
            "private": repository.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": card.get("tags") or [],
            "library_name": card.get("library_name"),
            "pipeline_tag": card.get("pipeline_tag"),
            "cardData": card,
            "siblings": [{"rfilename": path} for path in commit.files],
            "createdAt": "2026-01-01T00:00:00.000Z",
            "lastModified": "2026-01-01T00:00:00.000Z",
        }
    )


def _card(commit: Commit) -> dict[str, Any]:
    """The YAML at the head of the card."""
    file = commit.files.get("README.md")
    head = re.match(r"---\n(.*?)\n---", file.content.decode(errors="replace"), re.DOTALL) if file else None
    try:
        return yaml.safe_load(head[1]) or {} if head else {}
    except yaml.YAMLError:
        return {}


def _tree(hub: Hub, request: Request, kind: str, repo_id: str, revision: str, folder: str | None) -> Reply:
    commit = _visible(hub, request, kind, repo_id).commit(revision)
    start = f"{folder}/" if folder else ""
    if start and not any(path.startswith(start) for path in commit.files):
        raise HubError(404, f"{folder} does not exist", "EntryNotFound")
    deep = "recursive=true" in request.query.lower()
    paths = [*commit.files, *_folders(commit)]
    inside = [path for path in paths if path.startswith(start) and (deep or "/" not in path[len(start) :])]
    return _json([_entry(commit, path) for path in inside])


def _paths_info(hub: Hub, request: Request, kind: str, repo_id: str, revision: str) -> Reply:
    commit = _visible(hub, request, kind, repo_id).commit(revision)
    paths = urllib.parse.parse_qs(request.body.decode()).get("paths", [])
    return _json([_entry(commit, path) for path in paths if path in {*commit.files, *_folders(commit)}])


def _folders(commit: Commit) -> list[str]:
    parents = {path.rsplit("/", depth)[0] for path in commit.files for depth in range(1, path.count("/") + 1)}
    return sorted(parents)


def _entry(commit: Commit, path: str) -> dict[str, Any]:
    file = commit.files.get(path)
    if file is None:
        return {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}
    size = len(file.content)
    lfs = {"lfs": {"oid": file.oid, "size": size, "pointerSize": 134}} if file.lfs else {}
    return {"type": "file", "path": path, "size": size, "oid": file.blob_id, **lfs}


def _refs(hub: Hub, request: Request, kind: str, repo_id: str) -> Reply:
    sha = _visible(hub, request, kind, repo_id).commits[-1].sha
    branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": sha}
    return _json({"branches": [branch], "tags": [], "converts": []})


def _preupload(hub: Hub, request: Request, kind: str, repo_id: str, revision: str) -> Reply:
    commit = _proposable(hub, request, kind, repo_id).commit(revision)
    modes = []
    for asked in json.loads(request.body)["files"]:
        path, known = asked["path"], commit.files.get(asked["path"])
        mode = "lfs" if is_large(path, asked["size"]) else "regular"
        modes.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": known and known.oid})
    return _json({"files": modes})


def _lfs_batch(hub: Hub, request: Request, kind: str | None, repo_id: str) -> Reply:
    _owned(hub, request, kind or "model", repo_id)
    objects = []
    for asked in json.loads(request.body)["objects"]:
        upload = {"actions": {"upload": {"href": f"{hub.url}/_lfs/{asked['oid']}"}}}
        objects.append({**asked, **({} if asked["oid"] in hub.large_files else upload)})
    return _json({"transfer": "basic", "objects": objects})


def _lfs_upload(hub: Hub, request: Request, oid: str) -> Reply:
    if hashlib.sha256(request.body).hexdigest() != oid:
        raise HubError(400, "the content does not have the SHA-256 that was announced")
    hub.large_files[oid] = request.body
    return _json({})


def _commit(hub: Hub, request: Request, kind: str, repo_id: str, revision: str) -> Reply:
    page = f"{hub.url}/{'' if kind == 'model' else kind + 's/'}{repo_id}"
    repository = _proposable(hub, request, kind, repo_id)
    if _PROPOSAL in request.query:  # which nothing here keeps
        commit = repository.commit(revision)
        answer = {"commitOid": commit.sha, "commitUrl": f"{page}/commit/{commit.sha}", "hookOutput": ""}
        return _json({"success": True, "pullRequestUrl": f"{page}/discussions/1", **answer})
    files, message = dict(repository.commit(revision).files), ""
    for line in request.body.splitlines():
        operation = json.loads(line)
        value = operation["value"]
        match operation["key"]:
            case "header":
                message = value["summary"]
                if value.get("parentCommit") not in (None, repository.commits[-1].sha):
                    raise HubError(412, "A commit has happened since. Please refresh and try again.")
            case "file":
                files[value["path"]] = StoredFile(base64.b64decode(value["content"]), lfs=False)
            case "lfsFile":
                if value["oid"] not in hub.large_files:
                    raise HubError(400, f"{value['path']} was not uploaded")
                files[value["path"]] = StoredFile(hub.large_files[value["oid"]], lfs=True)
            case "deletedFile":
                if files.pop(value["path"], None) is None:
                    raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
            case "deletedFolder":
                files = {path: file for path, file in files.items() if not path.startswith(value["path"])}
            case unknown:
                raise HubError(400, f"unknown operation {unknown}")
    commit = repository.add_commit(files, message)
    url = f"{page}/commit/{commit.sha}"
    return _json({"success": True, "commitOid": commit.sha, "commitUrl": url, "hookOutput": ""})


def _resolve(hub: Hub, request: Request, kind: str | None, repo_id: str, revision: str, path: str) -> Reply:
    commit = _visible(hub, request, kind or "model", repo_id).commit(revision)
    if path not in commit.files:
        reply = _json({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit.sha)
        return reply
    file = commit.files[path]
    headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if wanted is None:
        return Reply(file.content, 200, headers)
    first, size = int(wanted[1]), len(file.content)
    last = min(int(wanted[2] or size - 1), size - 1)
    if first > last:
        raise HubError(416, f"no bytes {first}-{last} of {size}")
    return Reply(file.content[first : last + 1], 206, {**headers, "Content-Range": f"bytes {first}-{last}/{size}"})


_PROPOSAL = "create_pr=1"
_REPO = r"(?P<kind>model|dataset|space)s/(?P<repo_id>[^/]+/[^/]+)"
_PAGE = r"(?:(?P<kind>dataset|space)s/)?(?P<repo_id>[^/]+/[^/]+)"
_ROUTES: tuple[tuple[str, str, Callable[..., Reply]], ...] = (
    ("GET", "/api/whoami-v2", _whoami),
    ("POST", "/api/validate-yaml", _validate_yaml),
    ("POST", "/api/repos/create", _create),
    ("GET", rf"/api/{_REPO}/auth-check/write", _may_write),
    ("DELETE", "/api/repos/delete", _delete),
    ("GET", rf"/api/{_REPO}(?:/revision/(?P<revision>[^/]+))?", _info),
    ("GET", rf"/api/{_REPO}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?", _tree),
    ("POST", rf"/api/{_REPO}/paths-info/(?P<revision>[^/]+)", _paths_info),
    ("GET", rf"/api/{_REPO}/refs", _refs),
    ("POST", rf"/api/{_REPO}/preupload/(?P<revision>[^/]+)", _preupload),
    ("POST", rf"/api/{_REPO}/commit/(?P<revision>[^/]+)", _commit),
    ("POST", rf"/{_PAGE}\.git/info/lfs/objects/batch", _lfs_batch),
    ("PUT", r"/_lfs/(?P<oid>[0-9a-f]{64})", _lfs_upload),
    ("GET", rf"/{_PAGE}/(?:resolve|raw)/(?P<revision>[^/]+)/(?P<path>.+)", _resolve),
)


def _answer(hub: Hub, request: Request) -> Reply:
    """Route a request; HEAD is answered like GET."""
    method = "GET" if request.method == "HEAD" else request.method
    for route_method, pattern, function in _ROUTES:
        if method == route_method and (found := re.fullmatch(pattern, request.path)):
            return function(hub, request, **found.groupdict())
    raise HubError(404, f"no such page: {request.method} {request.path}")


class Handler(BaseHTTPRequestHandler):
    """Read a request, fail if the test wants it to, and write the answer."""

    protocol_version = "HTTP/1.1"
    # An answer in one piece, sent at once: in two, each would wait 40 ms for the client's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing: `Hub.requests` records it."""

    def _handle(self) -> None:
        hub: Hub = self.server.hub
        url = urllib.parse.urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, urllib.parse.unquote(url.path), url.query, headers, self._body())
        with hub.lock:
            hub.requests.append(request)
            fault = hub.fault_of(request)
            if fault is None:
                try:
                    reply = _answer(hub, request)
                except HubError as error:
                    reply = _error(error)
            elif fault.status is None:
                self.close_connection = True
                return
            else:
                content = fault.content.replace("{authorization}", headers.get("authorization", ""))
                named = {name.replace("_", "-"): text for name, text in fault.headers.items()}
                reply = Reply(content.encode(), fault.status, named)
        self._write(reply)

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = _handle

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _write(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.content)


def _error(error: HubError) -> Reply:
    code = {"X_Error_Code": error.code} if error.code else {}
    return _json({"error": error.message}, error.status, X_Error_Message=error.message, **code)
