"""`prompt-clip data check`: arguments, answers and exit statuses."""

import json
from pathlib import Path

import pytest

from dataset_scripts import load_person_search
from dataset_scripts.commands.check import main
from dataset_scripts.parquet import convert_to_parquet
from modeling_prompt_clip import cli
from person_search_folders import FOLDERS, make_folder


@pytest.fixture
def custom(tmp_path: Path) -> Path:
    return make_folder("custom", tmp_path / "custom")


@pytest.mark.parametrize("name", FOLDERS)
def test_every_format_is_found_and_usable(name: str, tmp_path: Path, capsys: pytest.CaptureFixture):
    folder = make_folder(name, tmp_path / name)
    assert main([str(folder), "--decode", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["format"] == FOLDERS[name]().format and answer["images_checked"] == "pixels"
    found = {problem["kind"] for problem in answer["problems"]}
    assert found <= {"other_counts", "long_caption", "byte_order_mark", "named_person"}
    loaded = load_person_search(answer["format"], folder, None, cache_dir=tmp_path / "cache")
    if not any(answer["drawn_shares"].values()):
        assert {split: len(rows) for split, rows in loaded.items()} == {
            split: counts["images"] for split, counts in answer["splits"].items()
        }


def test_json_has_every_fact(custom: Path, capsys: pytest.CaptureFixture):
    with open(custom / "annotations.jsonl", "a") as stream:
        stream.write("7\n")
    assert main([str(custom), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    (problem,) = answer.pop("problems")
    assert answer == {
        "folder": str(custom),
        "format": "custom",
        "title": "your own data",
        "usable": False,
        "usable_with_skip": False,
        "annotation_files": ["annotations.jsonl"],
        "rows": 17,
        "images": 16,
        "good_images": 16,
        "images_checked": "headers",
        "person_ids": [0, 7],
        "splits": {
            "train": {"persons": 4, "images": 8, "captions": 16},
            "validation": {"persons": 2, "images": 4, "captions": 8},
            "test": {"persons": 2, "images": 4, "captions": 8},
        },
        "published": {},
        "drawn_shares": {"validation": 0.0, "test": 0.0},
        "context_tokens": 77,
        "token_counts": "lower bound",
        "against": [],
        "strict": False,
        "passed": False,
    }
    text = "7 is not an object with the fields of one image. Remove it."
    assert problem == {
        "kind": "bad_row",
        "severity": "error",
        "what": "row that is not an object with the fields of one image",
        "count": 1,
        "examples": [{"text": text, "file": "annotations.jsonl", "row": 16}],
        "remedy": "Fix or remove the row.",
    }


def test_strict_fails_on_a_warning(custom: Path, capsys: pytest.CaptureFixture):
    assert main([str(custom), "--strict"]) == 0
    text = (custom / "annotations.jsonl").read_text()
    (custom / "annotations.jsonl").write_text("\ufeff" + text)
    assert main([str(custom)]) == 0
    capsys.readouterr()
    assert main([str(custom), "--strict", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["usable"], answer["strict"], answer["passed"]) == (True, True, False)


def test_a_format_can_be_given(tmp_path: Path, capsys: pytest.CaptureFixture):
    """Both annotations are there; the particular one is found, the other has to be named."""
    folder = make_folder("cuhk_pedes", tmp_path / "both")
    make_folder("custom", folder)
    assert main([str(folder)]) == 0 and main([str(folder), "--format", "custom"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("CUHK-PEDES (cuhk_pedes)") and "your own data (custom)" in text


def test_another_format_than_the_folders_is_told(custom: Path):
    with pytest.raises(FileNotFoundError, match=r"CUHK-PEDES needs reid_raw.json, which is not in .*custom"):
        main([str(custom), "--format", "cuhk_pedes"])


def test_a_tokenizer_counts_exactly(custom: Path, tiny_clip_folder: Path, capsys: pytest.CaptureFixture):
    file = custom / "annotations.jsonl"
    file.write_text(file.read_text().replace("a red coat", "a red " + "o" * 60 + "coat"))
    assert main([str(custom), "--json"]) == 0
    assert not json.loads(capsys.readouterr().out)["problems"]
    main([str(custom), "--tokenizer", str(tiny_clip_folder), "--json"])
    answer = json.loads(capsys.readouterr().out)
    (problem,) = answer["problems"]
    assert answer["token_counts"] == "exact" and problem["kind"] == "long_caption" and problem["count"] == 4
    assert not problem["examples"][0]["text"].startswith("at least")


def test_a_folder_of_parquet_is_told_apart(custom: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    splits = load_person_search("custom", custom, None, cache_dir=tmp_path / "cache")
    convert_to_parquet(splits, tmp_path / "parquet", source="custom")
    assert main([str(tmp_path / "parquet")]) == 0
    assert "Parquet, nothing wrong found" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--tokenizer do not read"):
        main([str(tmp_path / "parquet"), "--tokenizer", "stand-in"])


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "required: DIR"),
        (["a", "b"], "unrecognized arguments: b"),
        (["a", "--format", "cuhk"], "invalid choice: 'cuhk'"),
        (["a", "--annotation_only", "--decode"], "it cannot go with --decode or --against"),
        (["a", "--annotation_only", "--against", "b"], "it cannot go with --decode or --against"),
    ],
)
def test_wrong_use_is_2(argv: list[str], says: str, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2 and says in capsys.readouterr().err


@pytest.mark.parametrize("what", ["nothing", "file", "empty"])
def test_where_there_is_no_set_one_line_says_so(what: str, tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    assert cli.main(["data", "check", str(tmp_path / what)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("prompt-clip data check: error: ") and str(tmp_path / what) in err
