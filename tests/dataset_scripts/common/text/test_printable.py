"""Nothing that a terminal obeys is printed raw."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_scripts.common.text.printable import one_line, printable, shown


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a man in a red coat", "a man in a red coat"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("cam1\u202egpj.exe", "cam1\\u202egpj.exe"),
        ("two\nlines", "two\nlines"),
        ("bell\a, return\r, tab\t", "bell\\x07, return\\r, tab\\t"),
        ("half a pair \ud83d", "half a pair \\ud83d"),
        (
            "\u7537\u4eba \u0645\u0631\u062d\u0628\u0627 na\u00efve",
            "\u7537\u4eba \u0645\u0631\u062d\u0628\u0627 na\u00efve",
        ),
    ],
)
def test_printable(text: str, printed: str):
    assert printable(text) == printed


@given(st.text(st.characters(codec=None)))
def test_every_text_is_printable_and_can_be_encoded(text: str):
    assert printable(text).replace("\n", "").isprintable()
    line = one_line(text)
    assert line.isprintable() and line.encode("utf-8").decode() == line


@pytest.mark.parametrize("value", ["x" * 10_000, list(range(10_000)), [[[[[[1]]]]]], {"a": "\x1b[31m"}, "\x1b[31m"])
def test_values_are_shown_shortly(value: object):
    assert len(shown(value)) < 300 and shown(value).isprintable()
    assert shown(10**5000) == "a number of more than 100 digits"
    assert shown("short") == "'short'" and shown([1, None]) == "[1, None]"
