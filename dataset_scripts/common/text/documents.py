"""JSON and YAML that others wrote, read in bounded time and memory."""

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml

__all__ = ["parse_json", "parse_yaml", "read_bytes", "read_json", "read_json_as", "read_text", "read_yaml"]

Kind = TypeVar("Kind", dict[str, Any], list[Any])

MOST_BYTES = 64 << 20  # of JSON: a manifest of the largest set has a few MB
MOST_YAML_BYTES = 256 << 10  # it is read at 100 KB a second; recipes have 2 KB
MOST_VALUES = 100_000
MOST_DEPTH = 100


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """Read a file of bounded size.

    Raises ValueError: too large, or a device or pipe, which may never end; OSError: unreadable.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError("it is a device or a pipe")
    with open(path, "rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it is larger than {most_bytes:,} bytes")
    return content


def read_text(path: Path, most_bytes: int) -> str:
    """Read UTF-8 text, without a byte-order mark.

    Raises ValueError: see `read_bytes`, or other bytes; OSError: unreadable.
    """
    content = read_bytes(path, most_bytes)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8") from error


def read_json(path: Path, finite: bool = False) -> Any:
    """Read a JSON file; see `read_text` and `parse_json`."""
    return parse_json(read_text(path, MOST_BYTES), finite)


def read_json_as(kind: type[Kind], path: Path) -> Kind:
    """Read a JSON file that must hold an object, a dict, or a list.

    Raises ValueError: see `read_json`; the message names the file.
    """
    try:
        content = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}; put it back from a copy, or make it again") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path} is no JSON {'object' if kind is dict else 'list'}; put it back, or make it again")
    return content


def read_yaml(path: Path, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """Read a YAML file; see `read_text` and `parse_yaml`."""
    return parse_yaml(read_text(path, MOST_YAML_BYTES), loader)


def parse_json(text: str | bytes, finite: bool = False) -> Any:
    """Parse JSON; with `finite`, NaN, infinity and numbers beyond float64 are refused.

    Raises ValueError: no JSON, nested too deeply, a key twice, or a number of thousands of digits.
    """
    options: dict[str, Any] = {"parse_constant": _refuse_constant, "parse_float": _finite} if finite else {}
    try:
        return json.loads(text, object_pairs_hook=_without_doubles, **options)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_yaml(text: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """Parse one YAML document by a safe loader.

    Aliases are expanded by whoever walks the values, so a file of a few hundred bytes can stand for billions.

    Raises ValueError: no YAML, nested too deeply, too many values, or a key twice.
    """
    try:
        node = yaml.compose(text, Loader=loader)
        if node is None:
            return None
        _weigh(node)
        return loader("").construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:  # PyYAML's own, of tags such as !!int
        raise ValueError(f"it holds a value that is not of its tag ({type(error).__name__})") from error


def _weigh(root: yaml.Node) -> None:
    """Refuse a document of too many values, aliases counted as often as they are used."""
    weights: dict[int, int] = {}
    within: set[int] = set()

    def weigh(node: yaml.Node, depth: int) -> int:
        known = weights.get(id(node))
        if known is not None:
            return known
        if id(node) in within:
            raise ValueError("an alias contains itself")
        if depth > MOST_DEPTH:
            raise ValueError("it is nested too deeply")
        within.add(id(node))
        children = _children(node)
        total = 1 + sum(weigh(child, depth + 1) for child in children)
        if total > MOST_VALUES:
            raise ValueError(f"it stands for more than {MOST_VALUES:,} values")
        within.discard(id(node))
        weights[id(node)] = total
        return total

    weigh(root, 0)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    raise ValueError(f"{key.value!r} stands twice, line {key.start_mark.line + 1}")
                seen.add((key.tag, key.value))
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _without_doubles(pairs: list[tuple[Hashable, Any]]) -> dict[Hashable, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no finite number")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{digits[:40]} is no finite number")
    return number
