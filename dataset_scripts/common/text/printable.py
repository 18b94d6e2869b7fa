"""Text that a terminal shows literally."""

__all__ = ["one_line", "printable"]


def printable(text: object) -> str:
    """Escape characters that a terminal hides or obeys; line feeds stay.

    Names, captions and messages of files that others wrote may hold terminal escapes, and marks that reverse the
    direction of writing.
    """
    return "".join(sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in str(text))


def one_line(text: object) -> str:
    """Join to one line of printable characters."""
    return printable(" ".join(str(text).split()))
