"""Functions of the user's own, which settings name as MODULE:FUNCTION."""

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["code_names", "import_function", "names_code"]

_CODE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def names_code(name: str) -> bool:
    """Whether a name has the form MODULE:FUNCTION."""
    return _CODE.fullmatch(name) is not None


def code_names(value: Any) -> list[str]:
    """List the `MODULE:FUNCTION` names in a text or mapping such as `sdm=1,MODULE:FUNCTION=0.5`."""
    parts: Iterable[Any] = value.replace(" ", "").split(",") if isinstance(value, str) else value
    if not isinstance(parts, Iterable):  # a wrong value, which names nothing
        return []
    found = (part.partition("=")[0] for part in parts if isinstance(part, str))
    return [name for name in found if names_code(name)]


def import_function(setting: str, name: str) -> Callable[..., Any]:
    """Import a function from the working directory or wherever Python finds modules.

    Call it only for a name that the user has typed, never for one that was read from a file.

    Args:
        setting: that has the name.
        name: MODULE:FUNCTION.

    Raises ValueError: the module cannot be imported or has no such function.
    """
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last, so that no file there takes the place of an installed package
    try:
        found = getattr(importlib.import_module(module), function, None)
    except Exception as error:  # a module may raise anything
        raise ValueError(
            f"{setting} names {name!r}, but module {module} cannot be imported ({type(error).__name__}: {error}); "
            "start in the folder of that module, or name that folder in PYTHONPATH"
        ) from error
    if not callable(found):
        raise ValueError(
            f"{setting} names {name!r}, but {sys.modules[module].__file__} has no function {function}; define it there"
        )
    return found
