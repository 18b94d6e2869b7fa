"""Escape names and settings for Markdown, so that they are shown literally."""

import html
import re
import unicodedata

__all__ = ["as_code", "as_link", "as_text", "fenced", "is_address", "one_line"]

_ACTIVE = re.compile(
    r"[\\`*\[\]|~$#]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # inside a word an underscore is no emphasis
    r"|^[-+=:](?=[-+=:\s]|$)"  # what begins a list, or makes a heading of the line before
)
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ADDRESS = re.compile(r"https?://[^\s<>\"'`\\]+")


def one_line(text: str) -> str:
    """Join to one line without control characters; invalid Unicode becomes `?`."""
    text = text.encode("utf-8", "replace").decode()
    hidden = {"Cc", "Zl", "Zp"}
    return " ".join(
        "".join(" " if unicodedata.category(sign) in hidden or sign in _BIDI else sign for sign in text).split()
    )


def as_text(text: object) -> str:
    """Escape to one line: no emphasis, link, table cell, heading or HTML."""
    escaped = _ACTIVE.sub(r"\\\g<0>", one_line(str(text)))
    return html.escape(_NUMBERED.sub(r"\1\\\2", escaped), quote=False)


def as_code(text: object) -> str:
    """Format as inline code, or as plain text if that is impossible."""
    line = one_line(str(text))
    return as_text(line) if not line or set(line) & set("`<>&|") else f"`{line}`"


def as_link(address: str) -> str:
    """Format a web address as a link, anything else as text."""
    return f"<{address}>" if is_address(address) else as_text(address)


def is_address(text: str) -> bool:
    """Whether the whole text is one http(s) address."""
    return _ADDRESS.fullmatch(text) is not None


def fenced(text: str, language: str) -> str:
    """Format as a fenced code block that the text cannot close."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
