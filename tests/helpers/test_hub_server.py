"""The Hub for tests answers the real client as the Hub does, for models as for data sets."""

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

REPO = "alice/thing"


@pytest.fixture
def api(hub):
    return HfApi(token=hub.token)


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_a_folder_goes_up_and_comes_down(hub, api, kind, tmp_path):
    for name, content in [("README.md", b"---\nlicense: mit\n---\n# T\n"), ("a/b/weights.safetensors", b"w" * 999)]:
        (tmp_path / "up" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / name).write_bytes(content)
    assert api.create_repo(REPO, repo_type=kind).repo_id == REPO
    commit = api.upload_folder(repo_id=REPO, repo_type=kind, folder_path=tmp_path / "up")
    assert len(hub.requested("^/_lfs/", "PUT")) == 1
    down = api.snapshot_download(REPO, repo_type=kind, local_dir=tmp_path / "down")
    for name, content in hub.files(kind, REPO).items():
        assert (tmp_path / "up" / name).read_bytes() == (tmp_path / "down" / name).read_bytes() == content
    info = api.repo_info(REPO, repo_type=kind)
    assert (info.sha, info.private, info.card_data.license) == (commit.oid, False, "mit")
    assert set(api.list_repo_files(REPO, repo_type=kind)) == set(hub.files(kind, REPO))
    assert [ref.target_commit for ref in api.list_repo_refs(REPO, repo_type=kind).branches] == [commit.oid]
    assert api.whoami()["name"] == "alice" and down


def test_a_commit_adds_and_deletes_and_old_ones_stay(hub, api, tmp_path):
    hub.add_repository("model", REPO, {"old.txt": b"old", "kept.txt": b"kept"})
    before = api.model_info(REPO).sha
    add = CommitOperationAdd("new.txt", b"new")
    operations = [add, CommitOperationDelete("old.txt")]
    api.create_commit(REPO, operations, commit_message="change", parent_commit=before)
    assert hub.files("model", REPO) == {"kept.txt": b"kept", "new.txt": b"new"}
    path = api.hf_hub_download(REPO, "old.txt", revision=before, cache_dir=tmp_path)
    with open(path) as file:
        assert file.read() == "old"
    again = [CommitOperationAdd("late.txt", b"late")]
    with pytest.raises(HfHubHTTPError) as error:
        api.create_commit(REPO, again, commit_message="late", parent_commit=before)
    assert error.value.response.status_code == 412


def test_cards(hub, api):
    hub.add_repository("model", REPO)
    card = ModelCard("---\nlicense: mit\ntags: [clip]\n---\n# Thing\n")
    card.push_to_hub(REPO, token=hub.token)
    assert ModelCard.load(REPO).data.tags == ["clip"]
    assert api.model_info(REPO).tags == ["clip"]


def test_who_may_do_what(hub, tmp_path):
    hub.add_repository("model", REPO, {"a.txt": b"a"}, private=True)
    for token, error in [("hf_alice", None), ("hf_bob", RepositoryNotFoundError), (False, RepositoryNotFoundError)]:
        assert HfApi(token=token).repo_exists(REPO) is (error is None)
        if error:
            with pytest.raises(error):
                hf_hub_download(REPO, "a.txt", token=token, cache_dir=tmp_path)
    for token, status in [(False, 401), ("hf_bob", 403), ("hf_nobody", 401)]:
        with pytest.raises(HfHubHTTPError) as raised:
            HfApi(token=token).create_repo("alice/new")
        assert raised.value.response.status_code == status
    with pytest.raises(HfHubHTTPError) as raised:
        HfApi(token="hf_alice").create_repo(REPO)
    assert raised.value.response.status_code == 409
    HfApi(token="hf_alice").create_repo(REPO, exist_ok=True)
    HfApi(token="hf_alice").delete_repo(REPO)
    assert hub.repositories == {}


def test_what_is_not_there(hub, api, tmp_path):
    hub.add_repository("dataset", REPO, {"a.txt": b"a"})
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(REPO, "b.txt", repo_type="dataset", cache_dir=tmp_path)
    with pytest.raises(RevisionNotFoundError):
        api.dataset_info(REPO, revision="v2")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(REPO)


def test_faults_on_demand(hub, api):
    hub.fail("/api/models/", 429, times=1, method="GET", **{"Retry-After": "7"})
    hub.drop("whoami")
    with pytest.raises(HfHubHTTPError) as error:
        api.model_info(REPO)
    assert error.value.response.status_code == 429 and error.value.response.headers["Retry-After"] == "7"
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(REPO)
    with pytest.raises(HTTPError):
        api.whoami(cache=False)
    assert api.whoami()["name"] == "alice"
    assert [request.path for request in hub.requested("whoami")] == ["/api/whoami-v2"] * 2
