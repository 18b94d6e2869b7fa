"""JSON and YAML of others end in values or a ValueError, soon and small."""

import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dataset_scripts.common.text import documents
from dataset_scripts.common.text.documents import parse_json, parse_yaml, read_json, read_yaml

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
MERGES = "a0: &a0 {k: v}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30))


@given(VALUES)
def test_json_as_the_library_reads_it(value: object):
    assert parse_json(json.dumps(value), finite=True) == value


@given(VALUES)
def test_yaml_as_the_library_reads_it(value: object):
    text = yaml.safe_dump(value, allow_unicode=True)
    assert parse_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{", "no JSON"),
        ("", "no JSON"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ('{"seed": 1, "lr": 2, "seed": 3}', "'seed' stands twice"),
        ("[1" + "0" * 5000 + "]", "digits"),
    ],
)
def test_no_json(text: str, rule: str):
    with pytest.raises(ValueError, match=rule):
        parse_json(text)


@pytest.mark.parametrize("text", ["NaN", "[-Infinity]", "1e999"])
def test_numbers_that_are_not_finite(text: str):
    parse_json(text)
    with pytest.raises(ValueError, match="no finite number"):
        parse_json(text, finite=True)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a: [", "no YAML"),
        ("a: 1\n---\nb: 2", "no YAML"),
        ("!!python/object/apply:os.system [ls]", "no YAML"),
        ("[" * 100_000, "nested too deeply"),
        ("- " * 500 + "x", "nested too deeply"),
        (BOMB, "more than 100,000 values"),
        (MERGES, "more than 100,000 values"),
        ("a: &a [*a]", "contains itself"),
        ("seed: 1\nlr: 2\nseed: 3", "'seed' stands twice, line 3"),
        ("a: !!int ''", "not of its tag"),
        ("a: !!timestamp x", "not of its tag"),
        ("1" * 5000, "digits"),
    ],
)
def test_no_yaml(text: str, rule: str):
    with pytest.raises(ValueError, match=rule):
        parse_yaml(text)


def test_aliases_and_merges_of_a_usual_size():
    assert parse_yaml("base: &b {x: 1}\none: {<<: *b, y: 2}\ntwo: {<<: *b, x: 3}") == {
        "base": {"x": 1},
        "one": {"x": 1, "y": 2},
        "two": {"x": 3},
    }
    assert parse_yaml("") is None


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "settings"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(path) == read_yaml(path) == {"a": 1}
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ValueError, match="byte 7 is no UTF-8"):
        read_json(path)
    monkeypatch.setattr(documents, "MOST_BYTES", 4)
    with pytest.raises(ValueError, match="larger than 4 bytes"):
        read_json(path)


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/dev/zero"), os.mkfifo])
def test_what_never_ends_is_not_read(tmp_path, make):
    make(tmp_path / "results.json")
    with pytest.raises(ValueError, match="it is a device or a pipe"):
        read_json(tmp_path / "results.json")
