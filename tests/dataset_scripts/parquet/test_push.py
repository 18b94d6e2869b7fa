"""Pushing to a Hub of the test's own, through the real client: what arrives, what is refused, what goes wrong."""

import json

import datasets
import pytest
from huggingface_hub import snapshot_download

from dataset_scripts.commands.push import main
from dataset_scripts.parquet import convert_to_parquet, load_parquet, push_dataset

REPO = "alice/tiny-set"


@pytest.fixture
def closed(splits, tmp_path):
    """A converted set whose terms forbid to publish it."""
    for dataset in (rows := datasets.DatasetDict(test=splits["test"].select(range(2)))).values():
        dataset.info.license = "Academic use only"
    convert_to_parquet(rows, tmp_path / "closed", source="cuhk_pedes")
    return tmp_path / "closed"


def state(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def uploaded(folder):
    """What must be on the Hub: the folder without its lock."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_folder_arrives_byte_for_byte_and_private(hub, converted, tmp_path):
    before = state(converted)
    pushed = push_dataset(converted, REPO)
    assert hub.files("dataset", REPO) == uploaded(converted)
    assert state(converted) == before
    repository = hub.repository("dataset", REPO)
    assert repository.private and pushed.private
    assert (pushed.repo_id, pushed.commit) == (REPO, repository.commits[-1].sha)
    assert pushed.url == f"{hub.url}/datasets/{REPO}"
    copy = snapshot_download(REPO, repo_type="dataset", local_dir=tmp_path / "copy")
    assert len(load_parquet(copy, "train", cache_dir=tmp_path / "cache")) == 12


def test_a_second_push_changes_nothing(hub, converted):
    first = push_dataset(converted, REPO)
    assert push_dataset(converted, REPO) == first
    assert len(hub.repository("dataset", REPO).commits) == 2
    assert len(hub.requested("^/_lfs/", "PUT")) == 5


def test_shards_of_an_earlier_conversion_are_removed(hub, splits, converted, tmp_path):
    push_dataset(converted, REPO)
    convert_to_parquet(splits, tmp_path / "new", source="synthetic_pedes", rows_per_shard=6)
    push_dataset(tmp_path / "new", REPO)
    assert hub.files("dataset", REPO) == uploaded(tmp_path / "new")


def test_an_interrupted_push_goes_on(hub, converted):
    hub.fail("/commit/", status=500, times=3)  # each try
    with pytest.raises(OSError, match=rf"{REPO} cannot be pushed: HTTP status 500.* The Hub has a fault"):
        push_dataset(converted, REPO)
    assert hub.files("dataset", REPO) == {}
    sent = len(hub.requested("^/_lfs/", "PUT"))
    push_dataset(converted, REPO)
    assert hub.files("dataset", REPO) == uploaded(converted)
    assert len(hub.requested("^/_lfs/", "PUT")) == sent


@pytest.mark.parametrize(
    ("page", "status", "remedy"),
    [
        ("/api/repos/create", 401, "hf auth login"),
        ("/api/repos/create", 403, "write permission"),
        (r"/api/datasets/[^/]+/[^/]+$", 404, "no such repository"),
        ("/preupload/", 403, "write permission"),
        ("/batch$", 429, "Wait some minutes"),
        ("/_lfs/", 403, "write permission"),
        ("/_lfs/", 503, "later: what has been uploaded is not sent again"),
        ("/commit/", 409, "Try again"),
        ("/commit/", 412, "Try again"),
        ("/commit/", 413, "Make the files smaller"),
        ("/commit/", 418, "a fault that the test asked for"),
    ],
)
def test_a_refusal_is_one_line_and_the_next_push_works(hub, converted, page, status, remedy):
    before = state(converted)
    hub.fail(page, status=status, times=100)
    with pytest.raises(OSError, match=rf"^{REPO} cannot be pushed: HTTP status {status}.*{remedy}") as error:
        push_dataset(converted, REPO)
    assert "\n" not in str(error.value) and hub.token not in str(error.value)
    hub.heal()
    push_dataset(converted, REPO)
    assert hub.files("dataset", REPO) == uploaded(converted)
    assert state(converted) == before


@pytest.mark.parametrize("page", ["/api/repos/create", "/api/validate-yaml", "/_lfs/", "/commit/"])
def test_a_lost_connection_is_one_line(hub, converted, page):
    hub.drop(page, times=100)
    with pytest.raises(OSError, match=rf"^{REPO} cannot be pushed: the connection to the Hub failed or was lost"):
        push_dataset(converted, REPO)
    hub.heal()
    push_dataset(converted, REPO)
    assert hub.files("dataset", REPO) == uploaded(converted)


def test_a_short_fault_is_survived(hub, converted):
    hub.fail("/_lfs/", status=500, times=2)
    hub.drop("/preupload/", times=2)
    push_dataset(converted, REPO)
    assert hub.files("dataset", REPO) == uploaded(converted)


def test_tokens(hub, converted, monkeypatch):
    for token, status in [("hf_nobody", 401), ("hf_bob", 403)]:
        with pytest.raises(OSError, match=f"HTTP status {status}") as error:
            push_dataset(converted, REPO, token=token)
        assert token not in str(error.value)
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nowhere/token")
    with pytest.raises(OSError, match="HTTP status 401"):
        push_dataset(converted, REPO)
    assert hub.repositories == {}


def test_what_the_server_says_is_passed_on_without_the_token(hub, converted):
    hub.fail("", status=403, message="storage limit reached, {authorization}")
    with pytest.raises(OSError, match=r"HTTP status 403 \(storage limit reached, Bearer hf_\.\.\.\)\. This account"):
        push_dataset(converted, REPO)


def test_offline(hub, converted, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="HF_HUB_OFFLINE is set"):
        push_dataset(converted, REPO)


def test_public_needs_open_terms_or_the_right(hub, converted, closed):
    with pytest.raises(ValueError, match=r"cuhk_pedes may not be made public: its terms are 'Academic use only'"):
        push_dataset(closed, REPO, private=False)
    assert hub.requests == []
    assert not push_dataset(converted, REPO, private=False).private
    assert not push_dataset(closed, "alice/other", private=False, right_to_publish=True).private
    assert not hub.repository("dataset", "alice/other").private


def test_a_public_repository_is_not_filled_by_accident(hub, closed):
    hub.add_repository("dataset", REPO, {"README.md": b"old"})
    with pytest.raises(ValueError, match=f"{REPO} exists and is public"):
        push_dataset(closed, REPO)
    assert hub.files("dataset", REPO) == {"README.md": b"old"}
    assert not hub.requested("preupload|_lfs|commit")


def test_a_private_repository_stays_private(hub, converted, caplog):
    hub.add_repository("dataset", REPO, private=True)
    assert push_dataset(converted, REPO, private=False).private
    assert "it stays private" in caplog.text


def test_what_is_not_pushed(hub, converted, tmp_path):
    shard = converted / "data" / "test-00000-of-00001.parquet"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + b"X")
    with pytest.raises(OSError, match=r"test-00000-of-00001\.parquet has changed since it was written"):
        push_dataset(converted, REPO)
    shard.write_bytes(content)
    (converted / "README.md").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no README\.md"):
        push_dataset(converted, REPO)
    record = converted / "conversion.json"
    record.write_text(record.read_text().replace('"complete": true', '"complete": false'))
    with pytest.raises(ValueError, match="is not finished"):
        push_dataset(converted, REPO)
    with pytest.raises(FileNotFoundError, match=r"has no conversion\.json"):
        push_dataset(tmp_path, REPO)
    assert hub.requests == []


@pytest.mark.parametrize("name", ["set", "alice/set/more", "alice/a set", "/set"])
def test_wrong_names(hub, converted, name):
    with pytest.raises(ValueError, match="set"):
        push_dataset(converted, name)
    assert hub.requests == []


def test_what_answers_is_no_hub(hub, converted):
    hub.impersonate("<html>Sign in to the wireless network</html>")
    with pytest.raises(OSError, match="what answered is not the Hub"):
        push_dataset(converted, REPO)


def test_what_lies_beside_the_shards_stays_and_is_named(hub, closed, capsys):
    clean = {path.relative_to(closed).as_posix() for path in closed.rglob("*") if path.is_file()} - {".lock"}
    for name in (".env", ".git/config", "data/notes.txt", "data/old.parquet"):
        (closed / name).parent.mkdir(exist_ok=True)
        (closed / name).write_text("secret")
    assert main([str(closed), "--repo", REPO, "--json"]) == 0
    printed = capsys.readouterr()
    assert set(hub.files("dataset", REPO)) - {".gitattributes"} == clean
    assert json.loads(printed.out)["left_out"] == [".env", ".git/", "data/notes.txt", "data/old.parquet"]


@pytest.mark.parametrize("name", ["README.md", "data/test-00000-of-00001.parquet", "notes.txt"])
def test_a_link_that_leaves_the_folder_is_refused(hub, closed, tmp_path, name):
    if (closed / name).exists():
        (closed / name).rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").touch()
    (closed / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=f"{name} is a link that leaves"):
        push_dataset(closed, REPO)
    assert not hub.requests


def test_a_record_that_names_other_files(hub, closed):
    record = json.loads((closed / "conversion.json").read_text())
    record["shards"][".env"] = next(iter(record["shards"].values()))
    (closed / "conversion.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"names the shard '\.env'"):
        push_dataset(closed, REPO)
    assert not hub.requests
