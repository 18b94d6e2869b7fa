"""Damage to files, drawn by a seeded generator: to JSON, YAML and bytes of any kind."""

import copy
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

__all__ = ["ODD_VALUES", "damage_bytes", "damage_json", "damage_settings", "write_bomb"]

ODD_VALUES = (
    *(None, True, False, -1, 0, 1, 3, 10**7, 2**40, 2**70, -0.5, 1.5, 1e30, float("nan"), float("inf")),
    *("", "x", "7", "../../etc/passwd", "\x1b[31m\u202e", "a" * 100_000, "\ud800", "None"),
    *([], [0], [[[[]]]], ["\x07"], {}, {"a": {"b": None}}, list(range(5000))),
)
"""Values of wrong kinds, beyond all limits, or with what a terminal obeys."""


def damage_settings(content: Any, random: Random) -> tuple[Any, str]:
    """Return a copy of nested settings with one damage, and the key where it is; "" for the whole."""
    content = copy.deepcopy(content)
    places = list(_places(content))
    if not places or random.random() < 0.05:
        return random.choice(ODD_VALUES), ""
    parent, key = random.choice(places)
    if isinstance(parent, dict) and random.random() < 0.2:
        del parent[key]
    else:
        parent[key] = random.choice(ODD_VALUES)
    return content, str(key)


def damage_json(path: Path, random: Random) -> str:
    """Damage a JSON file in one value, or as text; return the key of the value, "" without one."""
    text, key = path.read_text(encoding="utf-8"), ""
    if random.random() < 0.7:
        content, key = damage_settings(json.loads(text), random)
        text = json.dumps(content)
        path.write_text(text, encoding="utf-8")
    else:
        path.write_bytes(random.choice(_TEXTS)(text, random))
    return key


def damage_bytes(path: Path, random: Random) -> None:
    """Damage a file's bytes."""
    path.write_bytes(random.choice(_BYTES)(path.read_bytes(), random))


def write_bomb(path: Path, megabytes: int) -> None:
    """Write a zip archive that is small, and of `megabytes` when unpacked."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("archive/data.pkl", "w", force_zip64=True) as member,
    ):
        for _ in range(megabytes):
            member.write(bytes(1 << 20))


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    keys = content if isinstance(content, dict) else range(min(len(content), 3)) if isinstance(content, list) else ()
    for key in keys:
        yield content, key
        yield from _places(content[key])


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data))]


def _flipped(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 8, 200))):
        changed[random.randrange(min(len(data), random.choice((64, 4096, 1 << 30))))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _zeros(data: bytes, random: Random) -> bytes:
    start = random.randrange(len(data))
    return data[:start] + bytes(len(data) - start)


_BYTES = (
    _cut,
    _flipped,
    _flipped,
    _zeros,
    lambda data, random: b"",
    lambda data, random: data + bytes(random.randrange(256) for _ in range(99)),
    lambda data, random: bytes(random.randrange(256) for _ in range(999)),
    lambda data, random: b"<!DOCTYPE html><html>404</html>",
    lambda data, random: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    lambda data, random: b"\xff\xff\xff\xff\xff\xff\xff\x7f" + data[8:],  # safetensors' size of a header
)
_TEXTS = (
    lambda text, random: text[: random.randrange(len(text))].encode(),
    lambda text, random: _flipped(text.encode(), random),
    lambda text, random: text.encode("utf-16"),
    lambda text, random: b"",
    lambda text, random: b"[" * 200_000,
    lambda text, random: b'{"a":' * 200_000,
    lambda text, random: b"[" + text.encode() + b"]",
    lambda text, random: text.encode() + text.encode(),
    lambda text, random: b"\xef\xbb\xbf" + text.encode(),
    lambda text, random: b'{"a": ' + b"9" * 5000 + b"}",
)
