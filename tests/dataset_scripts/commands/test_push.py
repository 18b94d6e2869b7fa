"""`prompt-clip data push` as its users call it."""

import json

import pytest
from PIL import Image

from dataset_scripts.commands import push
from dataset_scripts.parquet import convert_to_parquet
from modeling_prompt_clip import cli


@pytest.fixture
def closed(tmp_path):
    """A converted set of one image, whose terms are not known."""
    import datasets

    from dataset_scripts.builders.schema import PERSON_SEARCH_FEATURES

    row = {"image": Image.new("RGB", (4, 8)), "image_id": "a.png", "person_id": 1, "captions": ["a"], "camera": None}
    rows = datasets.Dataset.from_list([row], features=PERSON_SEARCH_FEATURES)
    convert_to_parquet({"train": rows}, tmp_path / "set", source="custom")
    return tmp_path / "set"


def test_private_at_first(hub, closed, capsys):
    assert push.main([str(closed), "--repo", "alice/mine"]) == 0
    commit = hub.repository("dataset", "alice/mine").commits[-1].sha
    url = f"{hub.url}/datasets/alice/mine"
    assert capsys.readouterr().out == f"{closed} is at {url} (private), commit {commit}\n"
    assert hub.repository("dataset", "alice/mine").private


def test_public_with_the_right(hub, closed, capsys):
    with pytest.raises(ValueError, match="may not be made public: its terms are 'not stated'"):
        push.main([str(closed), "--repo", "alice/mine", "--public"])
    assert push.main([str(closed), "--repo", "alice/mine", "--public", "--i_have_the_right_to_publish", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "repo_id": "alice/mine",
        "url": f"{hub.url}/datasets/alice/mine",
        "commit": hub.repository("dataset", "alice/mine").commits[-1].sha,
        "private": False,
        "left_out": [],
    }


def test_an_error_is_one_line_without_the_token(hub, closed, capsys):
    hub.fail("/commit/", status=403)
    assert cli.main(["data", "push", str(closed), "--repo", "alice/mine"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    last = err.splitlines()[-1]
    assert last.startswith("prompt-clip data push: error: alice/mine cannot be pushed: HTTP status 403 (")
    assert hub.token not in err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["set"], "--repo"),
        (["set", "--repo", "a/b", "--i_have_the_right_to_publish"], "means nothing without --public"),
    ],
)
def test_wrong_use(arguments, word, capsys):
    with pytest.raises(SystemExit) as exit:
        push.main(arguments)
    assert exit.value.code == 2
    assert word in capsys.readouterr().err


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        push.main(["--help"])
    text = capsys.readouterr().out
    assert "prompt-clip data push cuhk-parquet --repo my-lab/cuhk-pedes" in text and "HF_TOKEN" in text
