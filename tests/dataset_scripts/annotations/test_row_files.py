"""The readers against `json.load` and `csv.writer`, whatever the file and wherever a piece of it ends."""

import bz2
import csv
import gzip
import io
import json
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dataset_scripts.annotations import row_files
from dataset_scripts.annotations.row_files import read_csv, read_json_lines, read_json_list, read_json_object
from dataset_scripts.annotations.rows import AnnotationError

ENCODABLE = st.text(max_size=6).filter(lambda text: not any("\ud800" <= letter <= "\udfff" for letter in text))
NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False))
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, ENCODABLE)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ENCODABLE, inner, max_size=3)
)
ROWS = st.lists(st.dictionaries(ENCODABLE, VALUES, max_size=4), min_size=1, max_size=5)
FILE_SETTINGS = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "annotation"


@pytest.fixture(params=[1, 3, 1 << 20])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Pieces of one character, of a few, and of the usual size."""
    monkeypatch.setattr(row_files, "CHUNK", request.param)
    return request.param


@given(rows=ROWS, indent=st.sampled_from([None, 1]), ascii_only=st.booleans(), mark=st.sampled_from(["", "\ufeff"]))
@example(rows=[{"a": 1e300, "b": -0.5, "é": "\U0001f600"}], indent=None, ascii_only=True, mark="")
@FILE_SETTINGS
def test_a_json_list_is_what_json_load_reads(
    file: Path, chunk: int, rows: list[dict], indent: int | None, ascii_only: bool, mark: str
):
    file.write_text(mark + json.dumps(rows, indent=indent, ensure_ascii=ascii_only), encoding="utf-8", newline="")
    assert list(read_json_list(file)) == rows


@given(value=st.dictionaries(ENCODABLE, VALUES, min_size=1, max_size=4))
@example(value={"a": 1.5, "b": 12, "c": -1e-7})
@FILE_SETTINGS
def test_a_json_object_is_what_json_load_reads(file: Path, chunk: int, value: dict):
    file.write_text(json.dumps(value), encoding="utf-8")
    assert dict(read_json_object(file)) == value


@given(rows=ROWS)
@FILE_SETTINGS
def test_json_lines_are_what_json_loads_reads(file: Path, rows: list[dict]):
    file.write_text("\n \r\n".join(map(json.dumps, rows)), encoding="utf-8-sig", newline="")
    assert list(read_json_lines(file)) == rows


CELLS = ENCODABLE.filter(lambda text: text.strip() == text and "\0" not in text)


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS).filter(any), min_size=1, max_size=5),
    delimiter=st.sampled_from(",;\t"),
    mark=st.sampled_from(["", "\ufeff"]),
)
@FILE_SETTINGS
def test_csv_is_what_was_written(file: Path, rows: list[tuple], delimiter: str, mark: str):
    columns = ("image", "person_id", "caption")
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([columns, *rows])
    file.write_text(mark + text.getvalue(), encoding="utf-8", newline="")
    assert list(read_csv(file)) == [dict(zip(columns, row, strict=True)) for row in rows]


LIST_TEXT = json.dumps(
    [{"id": 12, "captions": ['A man, "né".', "[{"], "x": [1.5, {"y": None}]}, {"id": 3, "captions": ["ß 😀"]}],
    ensure_ascii=False,
)
OBJECT_TEXT = json.dumps({"a/1.jpg": "A man é.", "a/2.jpg": 'The "woman".'}, ensure_ascii=False)


@pytest.mark.parametrize(("read", "text"), [(read_json_list, LIST_TEXT), (read_json_object, OBJECT_TEXT)])
def test_json_cut_at_every_byte_is_an_error_about_the_file(file: Path, chunk: int, read: Callable, text: str):
    whole = text.encode()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(AnnotationError) as caught:
            list(read(file))
        assert caught.value.kind in ("not_json", "encoding")
        assert str(caught.value).startswith(str(file))


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_json_lines, '{"a": "é", "b": [1]}\n{"a": "ß", "b": []}'),
        (read_csv, 'image,caption\na.jpg,"A man, é"\nb.jpg,"A ""man"""'),
    ],
)
def test_lines_cut_at_every_byte_never_raise_anything_else(file: Path, read: Callable, text: str):
    whole = text.encode()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        try:
            rows = list(read(file))
        except AnnotationError:
            continue
        for row in rows:
            try:
                dict(row)
            except AnnotationError as error:
                assert error.kind == "bad_row"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it must be a JSON list with one object for each image, at the end of the file, after 0 rows"),
        ("null", "it must be a JSON list"),
        ('{"a": 1}', "it has an object where a JSON list with one object for each image must begin. JSON lines"),
        ("[]", "it is empty"),
        ('[{"a": 1},]', "after 1 rows"),
        ('[{"a": 1} {"a": 2}]', "',' or ']' is expected here, before '{\"a\": 2}]', after 1 rows"),
        ('[{"a": 1}] [', "nothing may follow the closing ']'"),
        ('[{"a": 1}, {"b": tru}]', "Expecting value, before 'tru}]', after 1 rows"),
        ("[" * 100_000, "nested"),
        ('[{"a": ' + "1" * 5000 + "}]", "5000 digits"),
    ],
)
def test_where_reading_a_list_stopped(file: Path, text: str, words: str):
    file.write_text(text)
    with pytest.raises(AnnotationError) as caught:
        list(read_json_list(file))
    assert caught.value.kind == "not_json" and words in str(caught.value).replace("recursion", "nested")


@pytest.mark.parametrize("text", ['{"a" 1}', '{1: "a"}', "{}", '{"a": 1,}', "[]"])
def test_what_is_no_object(file: Path, chunk: int, text: str):
    file.write_text(text)
    with pytest.raises(AnnotationError, match="not the expected JSON"):
        list(read_json_object(file))


@pytest.mark.parametrize(
    ("read", "text"), [(read_json_list, '[{"a": 1}, 7, {"a": 2}]'), (read_json_lines, '{"a": 1}\n7\n{"a": 2}')]
)
def test_a_row_that_is_no_object_is_raised_when_it_is_looked_at(file: Path, read: Callable, text: str):
    file.write_text(text)
    first, broken, last = read(file)
    assert (first, last) == ({"a": 1}, {"a": 2})
    with pytest.raises(AnnotationError, match=r"annotation, row 1: 7 is not an object") as caught:
        broken["a"]
    assert (caught.value.kind, caught.value.row) == ("bad_row", 1)


def test_a_line_that_is_not_json_is_one_broken_row(file: Path):
    file.write_text('{"a": 1}\n{"a": \n{"a": 2}\n')
    first, broken, last = read_json_lines(file)
    assert (first, last) == ({"a": 1}, {"a": 2})
    with pytest.raises(AnnotationError, match="row 1: line 2 is not a complete JSON object"):
        "a" in broken  # noqa: B015


def test_a_csv_row_with_too_many_or_few_cells_is_a_broken_row(file: Path):
    file.write_text("image,caption\na.jpg,A man, tall\nb.jpg,A man\nc.jpg\n")
    many, good, few = read_csv(file)
    assert good == {"image": "b.jpg", "caption": "A man"}
    with pytest.raises(AnnotationError, match="row 0: line 2 has 3 cells for 2 columns.*double quotes"):
        dict(many)
    with pytest.raises(AnnotationError, match="row 2: line 4 has 1 cells"):
        dict(few)


def test_what_spreadsheets_leave_behind_is_passed_over(file: Path):
    file.write_text('image; caption ;\r\na.jpg; "A man; tall";\r\n;;\r\n\r\nb.jpg;A woman;\r\n', newline="")
    assert list(read_csv(file)) == [
        {"image": "a.jpg", "caption": "A man; tall"},
        {"image": "b.jpg", "caption": "A woman"},
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file has no rows"),
        ("image,caption\n", "the file has no rows"),
        ("image,caption,caption\na,b,c\n", "names caption more than once"),
        ('image,caption\na,"A man\n', "it is not CSV (unexpected end of data)"),
        ('image,caption\na,"A man" tall\n', "it is not CSV"),
    ],
)
def test_what_is_no_table(file: Path, text: str, words: str):
    file.write_text(text)
    with pytest.raises(AnnotationError) as caught:
        list(read_csv(file))
    assert caught.value.kind == "not_json" and words in str(caught.value)


@pytest.mark.parametrize("read", [read_json_list, read_json_object, read_json_lines, read_csv])
@pytest.mark.parametrize("text", ["é".encode("cp1252") + b"x", "[{}]".encode("utf-16"), b"\xff" * 9])
def test_another_encoding_is_named(file: Path, read: Callable, text: bytes):
    file.write_bytes(text)
    with pytest.raises(AnnotationError, match="it is not UTF-8.*Save it as UTF-8") as caught:
        list(read(file))
    assert caught.value.kind == "encoding"


@pytest.mark.parametrize("read", [read_json_list, read_json_object, read_json_lines, read_csv])
def test_a_file_that_is_not_there(file: Path, read: Callable):
    with pytest.raises(FileNotFoundError):
        list(read(file))


@pytest.mark.parametrize(
    ("read", "head", "row", "joint", "tail"),
    [
        (read_json_list, "[", '{"a": "%s"}', ",", "]"),
        (read_json_lines, "", '{"a": "%s"}', "\n", ""),
        (read_csv, "a,b\n", "%s,1", "\n", ""),
    ],
)
def test_a_long_file_takes_the_memory_of_a_row(file: Path, read: Callable, head: str, row: str, joint: str, tail: str):
    file.write_text(head + joint.join([row % ("x" * 1000)] * 20_000) + tail)
    tracemalloc.start()
    count = sum(1 for _ in read(file))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000 and peak < 8 << 20 < file.stat().st_size


def test_quotes_that_do_not_close_do_not_take_all_memory(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(row_files, "LONGEST_VALUE", 1000)
    monkeypatch.setattr(row_files, "CHUNK", 100)
    file.write_text('[{"a": "' + "x" * 100_000)
    tracemalloc.start()
    with pytest.raises(AnnotationError, match="Unterminated string"):
        list(read_json_list(file))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60_000


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("sep=;\na;b\n1;2\n", [{"a": "1", "b": "2"}]),
        ("\ufeffSEP=|\r\na|b\r\n1|2\r\n", [{"a": "1", "b": "2"}]),
        ('"sep=,"\na,b\n"x, y",2\n', [{"a": "x, y", "b": "2"}]),
        ("a\tb\n1\t2\n", [{"a": "1", "b": "2"}]),
    ],
)
def test_separators_of_spreadsheets(file: Path, text: str, rows: list[dict]):
    file.write_text(text, encoding="utf-8")
    assert list(read_csv(file)) == rows


def test_lines_are_counted_below_excels_separator(file: Path):
    file.write_text("sep=;\na;b\n1;2;3\n")
    with pytest.raises(AnnotationError, match="line 3 has 3 cells for 2 columns"):
        next(read_csv(file))["a"]


@pytest.mark.parametrize(
    ("read", "content", "rule"),
    [
        (read_csv, b"image|person_id|caption\n1.jpg|2|a man\n", "commas, semicolons or tabs"),
        (read_csv, b'a,b\n1,"the \\"red\\" man"\n', "double"),
        (read_csv, b'a,b\n1,"the red man\n', "Restore the file"),
        (read_csv, b'{"a": 1, "b": 2}\n', r"\.jsonl"),
        (read_json_lines, b'[{"a": 1},\n{"a": 2}]', "one JSON object a line"),
        (read_json_list, b'{"a": 1}\n{"a": 2}', "JSON lines become a list"),
        (read_json_list, gzip.compress(b'[{"a": 1}]', mtime=0), "gunzip"),
        (read_json_lines, gzip.compress(b'{"a": 1}', mtime=0), "gunzip"),
        (read_csv, b"PK\x03\x04\x14\x00\xff\xff", "ZIP archive, or a spreadsheet"),
        (read_csv, lzma.compress(b"a,b"), "unxz"),
        (read_csv, bz2.compress(b"a,b"), "bunzip2"),
        (read_csv, b"PAR1\x15\xff", "Parquet"),
    ],
)
def test_dialects_are_told_what_to_do(file: Path, read: Callable, content: bytes, rule: str):
    file.write_bytes(content)
    with pytest.raises(AnnotationError, match=rule) as caught:
        list(read(file))
    assert caught.value.kind == "not_json"


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("{'a': 1}", "json.dumps"),
        ('{"a": 1},', "comma after the object"),
        ("{", "jq -c . FILE"),
        ("a,b", r"ends in \.csv"),
        ('{"a": 1', "on one line"),
    ],
)
def test_lines_that_are_no_object_are_told_what_to_do(file: Path, line: str, remedy: str):
    file.write_text(line + '\n{"a": 2}\n')
    with pytest.raises(AnnotationError, match=remedy):
        next(read_json_lines(file))["a"]
