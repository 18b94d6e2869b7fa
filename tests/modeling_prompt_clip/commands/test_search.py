import json
import logging
import types

import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

import modeling_prompt_clip.commands.search
from modeling_prompt_clip import cli
from modeling_prompt_clip.commands.search import main

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class ColourProcessor:
    """Pixels in 0..1; a caption is the number of its colour."""

    image_processor = CLIPImageProcessorPil(do_normalize=False)  # images go through the processor itself

    def tokenizer(self, captions, **kwargs):
        return {"input_ids": [[list(COLOURS).index(caption)] for caption in captions]}

    def __call__(self, images=None, text=None):
        if images is None:
            return {"input_ids": torch.tensor(self.tokenizer(text)["input_ids"])}
        return {"pixel_values": torch.tensor([image.resize((1, 1)).getpixel((0, 0)) for image in images]) / 255}


class ColourModel(torch.nn.Module):
    """Knows three colours and nothing else."""

    device, dtype = torch.device("cpu"), torch.float32

    def get_image_features(self, pixel_values):
        return types.SimpleNamespace(pooler_output=pixel_values)

    def get_text_features(self, input_ids):
        return types.SimpleNamespace(pooler_output=torch.eye(3)[input_ids[:, 0]])


@pytest.fixture(autouse=True)
def loaded(monkeypatch, tmp_path):
    """What `load_model` was called with; the working directory is a fresh folder."""
    calls = []

    def load_model(name_or_path, *, image_size=None, device=None):
        calls.append((name_or_path, device))
        return ColourModel(), ColourProcessor()

    monkeypatch.setattr(modeling_prompt_clip.commands.search, "load_model", load_model)
    monkeypatch.chdir(tmp_path)
    return calls


@pytest.fixture
def gallery(tmp_path):
    folder = tmp_path / "gallery"
    folder.mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (48, 144), colour).save(folder / f"{name}.png")
    return folder


def test_the_table_ranks_each_sentence_and_the_sheet_that_is_named_is_written(
    loaded, gallery, tmp_path, capsys, caplog
):
    caplog.set_level("INFO")
    assert (
        main(
            ["M", "--gallery", str(gallery), "red", "blue", "--top", "2", "--device", "cpu", "--output", "search.png"]
        )
        == 0
    )
    first, second = capsys.readouterr().out.split("\n\n")
    assert first.splitlines()[:2] == ["red", "rank    score  path"]
    assert first.splitlines()[2].split() == ["1", "1.0000", str(gallery / "red.png")]
    assert len(first.splitlines()) == 4
    assert second.splitlines()[2].split() == ["1", "1.0000", str(gallery / "blue.png")]
    assert loaded == [("M", "cpu")]
    assert "wrote the pictures to search.png" in caplog.text
    with Image.open(tmp_path / "search.png") as sheet:
        assert sheet.height > 2 * 200


def test_sentences_may_stand_on_both_sides_of_the_options(gallery, capsys):
    assert main(["M", "red", "--gallery", str(gallery), "blue", "--json"]) == 0
    assert [answer["sentence"] for answer in json.loads(capsys.readouterr().out)["answers"]] == ["red", "blue"]


def test_json_is_for_programs(gallery, tmp_path, capsys):
    assert main(["M", "--gallery", str(gallery), "green", "--top", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "model": "M",
        "gallery": str(gallery),
        "images": 3,
        "skipped": [],
        "left_out": [],
        "answers": [
            {"sentence": "green", "hits": [{"rank": 1, "score": 1.0, "path": str(gallery / "green.png")}]},
        ],
    }
    assert not (tmp_path / "search.png").exists()


def test_the_output_goes_where_it_is_told(gallery, tmp_path):
    assert main(["M", "--gallery", str(gallery), "green", "--json", "--output", "new/folder/a.png"]) == 0
    assert (tmp_path / "new" / "folder" / "a.png").exists()
    assert not (tmp_path / "search.png").exists()


def test_nothing_is_written_that_nobody_named(gallery, capsys, caplog, monkeypatch):
    caplog.set_level("INFO")
    before = sorted(gallery.parent.rglob("*"))
    monkeypatch.chdir(gallery)
    assert main(["M", "--gallery", ".", "green"]) == 0
    assert "green.png" in capsys.readouterr().out and "add: --output search.png" in caplog.text
    assert sorted(gallery.parent.rglob("*")) == before


def test_a_bad_image_stops_the_search_or_is_skipped_and_named(gallery, capsys, caplog):
    (gallery / "bad.jpg").write_bytes(b"")
    (gallery / "._red.png").write_bytes(b"\0\5\x16\7")
    with pytest.raises(ValueError, match=r"bad\.jpg has 0 bytes"):
        main(["M", "--gallery", str(gallery), "green"])
    assert main(["M", "--gallery", str(gallery), "green", "--json", "--on_bad_image", "skip"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["skipped"] == [str(gallery / "bad.jpg")]
    hidden = [str(gallery / "._red.png")]
    assert answer["left_out"] == [{"kind": "hidden or of the system", "count": 1, "first": hidden}]
    assert "1 hidden or of the system (._red.png)" in caplog.text
    assert f"skipped: image {gallery / 'bad.jpg'} has 0 bytes" in caplog.text
    for number in range(9):
        (gallery / f"pointer_{number}.jpg").write_bytes(b"version https://git-lfs")
    caplog.clear()
    main(["M", "--gallery", str(gallery), "green", "--json", "--on_bad_image", "skip"])
    assert caplog.text.count("git lfs pull") == 4 and "skipped 5 more" in caplog.text
    assert len(json.loads(capsys.readouterr().out)["skipped"]) == 10


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--gallery", "gallery", " "], ValueError, "is blank"),
        (["--gallery", "nowhere", "red"], NotADirectoryError, "gallery nowhere is not a folder"),
        (["--gallery", "gallery", "red", "--output", "a.jpg"], ValueError, r"--output a\.jpg is not a PNG"),
        (["--gallery", "gallery", "red", "--output", "gallery/x/a.png"], ValueError, "would lie inside the gallery"),
    ],
)
def test_wrong_input_is_refused_before_the_model_is_loaded(gallery, loaded, arguments, error, message):
    with pytest.raises(error, match=message):
        main(["M", *arguments])
    assert loaded == []


@pytest.mark.parametrize(
    "arguments", [["M", "red"], ["M", "--gallery", "gallery"], ["M", "--gallery", "g", "red", "--top", "0"]]
)
def test_wrong_use_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    assert capsys.readouterr().err.startswith("usage: prompt-clip search")


def test_it_is_a_verb(gallery, capsys):
    assert cli.main(["search", "M", "--gallery", str(gallery / "nowhere"), "red"]) == 1
    assert capsys.readouterr().err.startswith("prompt-clip search: error: gallery ")


def test_a_terminal_gets_no_commands_of_names(gallery, capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # those of pytest
    (gallery / "red.png").rename(gallery / "\x1b[31m\u202ered.png")
    (gallery / "\x1b[2Jleft.txt").write_text("")
    (gallery / "\x07bad.png").write_text("")
    assert cli.main(["search", "M", "--gallery", str(gallery), "red", "--on_bad_image", "skip"]) == 0
    out, err = capsys.readouterr()
    assert "\\x1b[31m\\u202ered.png" in out and "\\x07bad.png" in err
    assert all(sign.isprintable() or sign == "\n" for sign in out + err)
