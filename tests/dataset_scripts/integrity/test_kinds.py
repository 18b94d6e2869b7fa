"""Every kind of problem has a folder that has it, and nothing else."""

from __future__ import annotations

import ast
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from PIL import Image

from dataset_scripts import load_person_search
from dataset_scripts.annotations.problems import PROBLEMS, SKIPPED_PROBLEMS
from dataset_scripts.commands.check import main
from dataset_scripts.integrity.checker import check_folder
from person_search_folders import make_folder

if TYPE_CHECKING:
    from tests.dataset_scripts.integrity.conftest import DataFolder

NOT_NOTES = [kind for kind, problem in PROBLEMS.items() if problem.severity != "note"]
SOURCES = Path(__file__).parents[3] / "dataset_scripts"


class Case(NamedTuple):
    """What is done to a good folder, what the first example must say, and the options that find it."""

    kind: str
    spoil: Callable
    says: str
    folder: str = "custom"
    options: tuple[str, ...] = ()


def _set(row: int, **fields: object) -> Callable:
    """Writes fields of a row."""

    def spoil(data: DataFolder) -> None:
        data.rows[row].update(fields)
        data.write()

    return spoil


def _bytes(change: Callable[[bytes], bytes]) -> Callable:
    """Changes the annotation file."""
    return lambda data: data.annotation.write_bytes(change(data.annotation.read_bytes()))


def _image(change: Callable[[Path], object], row: int = 3) -> Callable:
    """Does something to an image file."""
    return lambda data: change(data.image(row))


def _save(mode: str, kind: str = "PNG", **options: object) -> Callable:
    """Saves an image in another form."""
    return _image(lambda file: Image.open(file).convert("RGB").convert(mode).save(file, kind, **options))


def _drop_caption(data: DataFolder) -> None:
    del data.rows[3]["captions"]
    data.write()


def _pop_caption(data: DataFolder) -> None:
    data.rows[0]["captions"].pop()
    data.write()


def _latin(data: bytes) -> bytes:
    return data.replace(b"coat", "café".encode("latin-1"), 1)


def _without_person_two(data: DataFolder) -> None:
    data.rows = [row for row in data.rows if row["person_id"] != 2]
    data.write()


def _named(data: DataFolder) -> None:
    for row in data.rows:
        row["person_id"] = f"anna_{row['person_id']}"
    data.write()


def _zero_based(data: DataFolder) -> None:
    for row in data.rows:
        row["id"] -= 1
    data.write()


def _no_validation(data: DataFolder) -> None:
    for row in data.rows:
        row["split"] = row["split"].replace("val", "test")
    data.write()


def _two_persons_without_splits(data: DataFolder) -> None:
    data.rows = data.rows[:4]
    for row in data.rows:
        del row["split"]
    data.write()


def _row_again(**changes: object) -> Callable:
    def spoil(data: DataFolder) -> None:
        data.rows.append({**data.rows[3], **changes})
        data.write()

    return spoil


def _moved_out(file: Path) -> None:
    elsewhere = file.parents[2] / "elsewhere.jpg"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


def _exif(file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(file).save(file, exif=exif)


def _copy(source: int, target: int) -> Callable:
    return lambda data: shutil.copy(data.image(source), data.image(target))


def _encode_again(data: DataFolder) -> None:
    Image.open(data.image(2)).resize((40, 80)).save(data.image(3), quality=85)


def _encode_again_for_another(data: DataFolder) -> None:
    Image.open(data.image(0)).resize((40, 80)).save(data.image(3), quality=85)


def _rename_and_encode(data: DataFolder) -> None:
    """Makes another set, whose test split has an image of this one's training."""
    other = make_folder("cuhk_pedes", data.path.parent / "other")
    rows = json.loads((other / "reid_raw.json").read_text())
    file = other / "imgs" / next(row["file_path"] for row in rows if row["split"] == "test")
    Image.open(data.image(0)).resize((40, 80)).save(file, quality=85)


CASES = [
    Case("not_json", _bytes(lambda data: data[:-20]), "after 14 rows", "cuhk_pedes"),
    Case("not_json", _bytes(lambda data: b""), "it must be a JSON list", "cuhk_pedes"),
    Case("encoding", _bytes(_latin), "byte 0xe9", "cuhk_pedes"),
    Case("encoding", _bytes(_latin), "byte 0xe9"),
    Case("encoding", _bytes(lambda data: data.decode().encode("utf-16")), "byte 0xff", "cuhk_pedes"),
    Case("byte_order_mark", _bytes(lambda data: b"\xef\xbb\xbf" + data), "EF BB BF"),
    Case("byte_order_mark", _bytes(lambda data: b"\xef\xbb\xbf" + data), "EF BB BF", "cuhk_pedes"),
    Case(
        "missing_annotation",
        lambda data: (data.path / "caption/Ts-qwen.json").unlink(),
        "lacks Ts-qwen.json",
        "luperson_mllm",
    ),
    Case("bad_row", _bytes(lambda data: data + b"\n7"), "7 is not an object"),
    Case("bad_row", _bytes(lambda data: data + b"\n{'image': 1}"), "line 19 is not a complete JSON object"),
    Case("bad_row", _bytes(lambda data: data[:-1] + b", 7]"), "7 is not an object", "cuhk_pedes"),
    Case("bad_row", _bytes(lambda data: data + b"a,b\r\n"), "line 18 has 2 cells", "custom_csv"),
    Case("missing_field", _drop_caption, "'caption' is missing"),
    Case("bad_field", _set(3, captions="A man in red."), "one caption a row"),
    Case("bad_field", _set(3, image=["a"]), "['a']"),
    Case("bad_field", _set(3, camera={}), "it must be text"),
    Case("bad_person_id", _set(3, person_id=-3), "-3"),
    Case("bad_person_id", _set(3, id="3"), "'3'", "cuhk_pedes"),
    Case("unknown_split", _set(3, split="dev"), "'dev'", "cuhk_pedes"),
    Case("no_caption", _set(3, captions=[]), "at least one caption"),
    Case("empty_caption", _set(3, captions=["A man in red.", " "]), "' '"),
    Case("bad_text", _set(3, captions=["A \ud800 man."]), "not valid Unicode"),
    Case("bad_path", _set(3, image="../a.jpg"), "'../a.jpg'"),
    Case("bad_path", _set(3, image="/etc/passwd"), "'/etc/passwd'"),
    Case("bad_path", _set(3, image="C:\\a.jpg"), "C:"),
    Case("bad_path", _set(3, image="a:1.jpg"), "a colon after one letter"),
    Case("person_in_two_splits", _set(3, split="test"), "person 1: test here, train in row 2"),
    Case("image_of_two_persons", _row_again(person_id=7), "images/1_1.jpg: person 7 here, 1 in row 3"),
    Case("too_few_persons", _two_persons_without_splits, "leave nobody to train on"),
    Case("repeated_row", _row_again(), "images/1_1.jpg, as in row 3"),
    Case("caption_twice", _set(3, captions=["A man in red."] * 2), "images/1_1.jpg: A man in red."),
    Case("repeated_caption", lambda data: _set(3, captions=data.rows[0]["captions"][:1])(data), "person 0 in row 0"),
    Case("long_caption", _set(3, captions=["a red hat " * 30]), "at least 92 tokens: a red hat"),
    Case("named_person", _named, "anna_0 is person 0"),
    Case("person_id_gap", _without_person_two, "no 2"),
    Case("person_id_base", _zero_based, "the smallest is 0, published 1", "cuhk_pedes"),
    Case("missing_split", _no_validation, "validation"),
    Case("other_counts", _pop_caption, "15 captions, published 16", "cuhk_pedes"),
    Case("missing_folder", _image(lambda file: shutil.rmtree(file.parent)), "CUHK03/, images", "cuhk_pedes"),
    Case("missing_folder", lambda data: shutil.rmtree(data.path / "imgs"), "imgs/, with all images", "cuhk_pedes"),
    Case(
        "misnamed_folder",
        lambda data: (data.path / "imgs").rename(data.path / "Images"),
        "Images/ in place of imgs/",
        "cuhk_pedes",
    ),
    Case("misnamed_image", _image(lambda file: file.rename(file.with_suffix(".JPG"))), "there is images/1_1.JPG"),
    Case("missing_image", _image(Path.unlink), "images/1_1.jpg"),
    Case("missing_image", _image(lambda file: (file.unlink(), file.mkdir())), "a folder, pipe or device"),
    Case("missing_image", _image(lambda file: (file.unlink(), os.mkfifo(file))), "a folder, pipe or device"),
    Case("missing_image", _set(3, image="images/" + "a" * 300), "File name too long"),
    Case("link_out", _image(_moved_out), "images/1_1.jpg"),
    Case("empty_image", _image(lambda file: file.write_bytes(b"")), "images/1_1.jpg"),
    Case("not_an_image", _image(lambda file: file.write_text("<html>")), "images/1_1.jpg"),
    Case("not_an_image", _image(lambda file: file.write_bytes(b"\0" * 999)), "1_1.jpg (nothing but zero bytes)"),
    Case("unreadable_image", _image(lambda file: (file.unlink(), file.symlink_to(file.name))), "Too many levels"),
    Case("pointer_image", _image(lambda file: file.write_text("version https://git-lfs")), "a pointer of Git LFS"),
    Case("other_format", _image(lambda file: file.write_bytes(b"%PDF-1.7")), "images/1_1.jpg (a PDF file)"),
    Case("truncated_image", _image(lambda file: file.write_bytes(file.read_bytes()[:-99])), "image file is truncated"),
    Case("huge_image", _image(lambda file: os.truncate(file, (1 << 28) + 1)), "268,435,457 bytes"),
    Case("huge_image", _image(lambda file: Image.new("1", (8193, 8192)).save(file, "PNG")), "8,193 x 8,192 pixels"),
    Case("deep_image", _save("I;16"), "of 65535, nearly black"),
    Case("odd_mode", _save("CMYK", "JPEG"), "images/1_1.jpg (CMYK)"),
    Case("odd_mode", _save("RGBA"), "images/1_1.jpg (RGBA)"),
    Case("odd_mode", _save("P"), "images/1_1.jpg (P)"),
    Case("rotated_image", _image(_exif), "images/1_1.jpg"),
    Case("copied_image", _copy(2, 3), "1_1.jpg (train, person 1) is images/1_0.jpg (train, person 1) of row 2"),
    Case("copied_image_of_two_persons", _copy(0, 3), "1_1.jpg (train, person 1) is images/0_0.jpg"),
    Case("similar_frames", _encode_again, "1 more, first images/1_1.jpg like images/1_0.jpg", options=("--decode",)),
    Case("similar_image", _encode_again_for_another, "1_1.jpg (train, person 1) is images/0_0", options=("--decode",)),
    Case("unnamed_image", _image(lambda file: shutil.copy(file, file.parent / "x.JPG")), "images/: 1 of 17 pictures"),
    Case("unnamed_image", _image(lambda file: shutil.copy(file, file.parents[1] / "x.gif")), "first x.gif"),
    Case("odd_size", _image(lambda file: Image.new("RGB", (1, 1)).save(file)), "1_1.jpg (1 x 1 pixels)"),
    Case("odd_size", _image(lambda file: Image.new("RGB", (4000, 20)).save(file)), "1_1.jpg (4000 x 20 pixels)"),
    Case("odd_caption", _set(3, captions=["A <b>man</b> in red."]), "images/1_1.jpg: markup: <b>"),
    Case("odd_caption", _set(3, captions=["def f(x): return x"]), "images/1_1.jpg: code: f(x):"),
    Case("odd_caption", _set(3, captions=["https://x.y/z"]), "1_1.jpg: an address: https://x.y/z"),
    Case("other_script", _set(3, captions=["A man \u7a7f\u7740 red."]), "(Latin and Chinese, Japanese"),
    Case("picture_in_two_splits", _copy(0, 15), "7_1.jpg (test, person 7) is images/0_0.jpg (train, person 0)"),
    Case("leak", _rename_and_encode, "test of other, person 7), by picture", options=("--against", "other")),
]


@pytest.fixture
def spoiled(data_folder: Callable[[str], DataFolder], request: pytest.FixtureRequest) -> DataFolder:
    """The folder of a case, spoiled."""
    data = data_folder(request.param.folder)
    request.param.spoil(data)
    return data


def _answer(data: DataFolder, capsys: pytest.CaptureFixture, *options: str) -> tuple[int, dict]:
    options = [str(data.path.parent / option) if option == "other" else option for option in options]
    status = main([str(data.path), "--format", data.layout.name, *options, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_good_folders_have_no_problem(data_folder: Callable[[str], DataFolder]):
    for name in ("custom", "cuhk_pedes"):
        data = data_folder(name, name)
        assert data.check().clean and data.check(decode=True).clean


def test_every_kind_has_a_case():
    assert {case.kind for case in CASES} == set(PROBLEMS)


@pytest.mark.parametrize(
    ("spoiled", "case"), [(case, case) for case in CASES], ids=[case.kind for case in CASES], indirect=["spoiled"]
)
def test_a_folder_with_one_problem_has_that_one(spoiled: DataFolder, case: Case, capsys: pytest.CaptureFixture):
    status, answer = _answer(spoiled, capsys, *case.options)
    # A row that is lost leaves its picture without a name.
    (problem,) = [found for found in answer["problems"] if found["kind"] in (case.kind, *NOT_NOTES)]
    assert problem["kind"] == case.kind and problem["count"] >= 1
    assert case.says in problem["examples"][0]["text"]
    assert (problem["severity"], problem["what"], problem["remedy"]) == PROBLEMS[case.kind]
    severity = PROBLEMS[case.kind].severity
    usable = severity != "error"
    assert (status, answer["usable"], answer["passed"]) == (0 if usable else 1, usable, usable)
    assert _answer(spoiled, capsys, *case.options, "--strict")[0] == (severity != "note")
    if case.kind != "leak":
        # Reading images whole finds no more, and what is usable is what loads.
        counts = check_folder(spoiled.path, spoiled.layout, decode=True).findings.counts
        assert {kind for kind in counts if kind in (case.kind, *NOT_NOTES)} == {case.kind}
        assert _loads(spoiled) == usable
        assert _loads(spoiled, on_bad_image="skip") == answer["usable_with_skip"]


def _loads(data: DataFolder, **options: str) -> bool:
    try:
        loaded = load_person_search(data.layout.name, data.path, None, cache_dir=data.path.parent / "cache", **options)
    except (ValueError, OSError):
        return False
    for split in loaded.values():
        for row in split:
            assert row["image"].mode == "RGB"
    return True


def test_every_error_of_the_readers_is_in_the_table():
    """Their kinds are the first argument of `AnnotationError` and of `AnnotationRow.error`."""
    kinds = set()
    for file in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and len(node.args) >= 3:
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in ("AnnotationError", "error"):
                    kinds |= {leaf.value for leaf in ast.walk(node.args[0]) if isinstance(leaf, ast.Constant)}
    kinds = {kind for kind in kinds if isinstance(kind, str) and kind.isidentifier()}
    assert {"not_json", "bad_path", "empty_caption"} <= kinds <= set(PROBLEMS)


def test_what_is_skipped_is_an_error_of_an_image():
    assert all(PROBLEMS[kind].severity == "error" for kind in SKIPPED_PROBLEMS)
