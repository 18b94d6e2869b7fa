"""`prompt-clip data convert` as its users call it."""

import json

import pytest
from PIL import Image

from dataset_scripts.commands import convert
from dataset_scripts.parquet import load_parquet


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A user's own set, one of whose images is broken; tables are kept in the test's folder."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "photos"
    folder.mkdir()
    rows = ["image,person_id,caption,split"]
    for number in range(4):
        Image.new("RGB", (20, 50), (50 * number, 90, 10)).save(folder / f"{number}.jpg")
        rows.append(f"{number}.jpg,{number},person {number} in red,{'test' if number == 3 else 'train'}")
    (folder / "2.jpg").write_bytes(b"broken")
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_a_folder_is_found_out_converted_and_told(photos, tmp_path, capsys, caplog):
    out = tmp_path / "out"
    arguments = [str(photos), "--on_bad_image", "skip", str(out), "--rows_per_shard", "1"]
    assert convert.main(arguments) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"custom in {out}\n\nsplit  persons  images  captions  cameras  files")
    assert [line.split()[:6] for line in text.splitlines()[3:5]] == [
        ["train", "2", "2", "2", "0", "2"],
        ["test", "1", "1", "1", "0", "1"],
    ]
    assert "Images: the source's files, unchanged. Verified: every file was read back" in text
    assert "skipped 2.jpg: " in caplog.text
    assert load_parquet(out, "train", cache_dir=tmp_path / "tables")["image_id"][:] == ["0.jpg", "1.jpg"]


def test_json_has_the_record(photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert convert.main([str(photos), str(out), "--format", "custom", "--on_bad_image", "skip", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    record = json.loads((out / "conversion.json").read_text())
    assert {name: answer[name] for name in record} == record
    assert answer["complete"] is True and answer["folder"] == str(out)
    assert [image["image_id"] for image in answer["skipped"]] == ["2.jpg"]


def test_images_are_resized(photos, tmp_path, capsys):
    size = ["--image_size", "96", "32", "--quality", "80"]
    assert convert.main([str(photos), *size, str(tmp_path / "out"), "--on_bad_image", "skip"]) == 0
    assert "Images: resized to 96x32, JPEG of quality 80." in capsys.readouterr().out
    rows = load_parquet(tmp_path / "out", "test", streaming=True)
    assert next(iter(rows))["image"].size == (32, 96)


def test_a_bad_image_is_an_error(photos, tmp_path):
    with pytest.raises(OSError, match=r"2\.jpg"):
        convert.main([str(photos), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_the_synthetic_set_needs_no_folder(tmp_path, monkeypatch, capsys):
    from dataset_scripts import load_person_search

    def tiny(name, data_dir, **options):
        assert (name, data_dir) == ("synthetic_pedes", None)
        sizes = {"train_identities": 1, "validation_identities": 1, "test_identities": 1}
        return load_person_search(name, data_dir, cache_dir=tmp_path / "cache", **options, **sizes)

    monkeypatch.setattr(convert, "load_person_search", tiny)
    assert convert.main(["--format", "synthetic_pedes", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("synthetic_pedes in ")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "OUT"),
        (["out"], "DIR is missing"),
        (["in", "out", "--image_size", "384"], "--image_size"),
        (["in", "out", "--rows_per_shard", "0"], "'0' is not an integer from 1 to 1,000,000"),
        (["in", "out", "--format", "cuhk"], "--format"),
    ],
)
def test_wrong_use(arguments, word, capsys):
    with pytest.raises(SystemExit) as exit:
        convert.main(arguments)
    assert exit.value.code == 2
    assert word in capsys.readouterr().err


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        convert.main(["--help"])
    text = capsys.readouterr().out
    assert "examples:" in text and "prompt-clip data convert CUHK-PEDES cuhk-parquet" in text
    assert "evaluation images change slightly" in " ".join(text.split())
