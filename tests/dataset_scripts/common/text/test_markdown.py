"""Hostile names in Markdown: a parser of CommonMark and tables sees text and nothing else."""

import pytest
from hypothesis import example, given, strategies
from markdown_it import MarkdownIt

from dataset_scripts.common.text.markdown import as_code, as_link, as_text, fenced, one_line

HOSTILE = [
    "<script>alert(1)</script>",
    "a\n---\nlicense: mit\n---\n# b",
    "x | y || z",
    "`code` ``` \n```\n# out",
    "![i](http://x/y.png) [l](javascript:alert(1))",
    "**bold** _it_ ~~gone~~ $x$",
    "# heading ##",
    "- item",
    "1. item",
    "2) item",
    "===",
    "{{ 7 * 7 }} {% raw %} {name}",
    "&lt;b&gt; & &amp;",
    "back\\slash \\` \\|",
    "<!-- comment",
    "bell\x07 null\x00 nel\x85 ls\u2028 rtl\u202e",
    "lone \udcff surrogate",
    "key: value, 'quoted' \"twice\"",
]
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
TEXT = {"inline", "text", "code_inline", "softbreak", "text_special"}


def kinds(markdown: str) -> set[str]:
    tokens = PARSER.parse(markdown)
    return {inner.type for token in tokens for inner in (token.children or [token])}


def shown(markdown: str) -> str:
    return "".join(inner.content for token in PARSER.parse(markdown) for inner in (token.children or ()))


@pytest.mark.parametrize("write", [as_text, as_code])
@given(name=strategies.text(max_size=20))
@example("_a_ __b__ c_d_e")
@example("a_*b*_")
def test_any_name_is_shown_as_it_is(write, name):
    name = one_line(name)
    assert shown(f"x {write(name)}").replace("\u00a0", " ").removeprefix("x").strip() == name.strip()
    for place in ("{}", "# {}", "- **n**: {}"):
        plain = kinds(place.format("name")) | TEXT
        assert kinds(place.format(write(name))) <= plain


@pytest.mark.parametrize("write", [as_text, as_code])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_changes_no_structure(write, name):
    table = "| a | b |\n|---|---|\n| {} | 1 |\n"
    count = [token.type for token in PARSER.parse(table.format("n"))]
    assert [token.type for token in PARSER.parse(table.format(write(name)))] == count
    for place in ("{}", "before\n{}\nafter", "# {}", "- {}", "x `y` {} `z`"):
        markdown = place.format(write(name))
        assert kinds(markdown) <= kinds(place.format("name")) | TEXT
        assert "<" not in markdown and one_line(name) == one_line(one_line(name))


def test_plain_names_stay_as_they_are():
    for name in ("synthetic_pedes", "CUHK-PEDES", "54.83 (53.20 to 56.41)", "R@1", "-0.53", "1,200", "run 3.2"):
        assert as_text(name) == name and as_code(name) == f"`{name}`"


def test_addresses_and_blocks():
    assert as_link("https://example.org/a?b=1") == "<https://example.org/a?b=1>"
    assert not kinds(as_link("https://x> <script>")) - TEXT - {"paragraph_open", "paragraph_close"}
    assert as_link("javascript:alert(1)") == "javascript:alert(1)"
    (block,) = PARSER.parse(fenced("@misc{a}\n```\n# out\n````", "bibtex"))
    assert block.type == "fence" and block.content == "@misc{a}\n```\n# out\n````\n"
