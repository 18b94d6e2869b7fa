"""Text that a terminal shows literally."""

import reprlib

__all__ = ["one_line", "printable", "shown"]


def printable(text: object) -> str:
    """Escape characters that a terminal hides or obeys; line feeds stay.

    Names, captions and messages of files that others wrote may hold terminal escapes, and marks that reverse the
    direction of writing.
    """
    return "".join(sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in str(text))


def one_line(text: object) -> str:
    """Join to one line of printable characters."""
    return printable(" ".join(str(text).split()))


class _Short(reprlib.Repr):
    """Short texts of values, for messages."""

    def repr_int(self, value: int, level: int) -> str:
        """Show a number; Python writes none of thousands of digits."""
        return repr(value) if abs(value) < 10**100 else "a number of more than 100 digits"


_SHORT = _Short()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxdict, _SHORT.maxlist = 4, 200, 80, 12, 12


def shown(value: object) -> str:
    """Shorten a value for a message."""
    return _SHORT.repr(value)
