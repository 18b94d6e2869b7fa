"""Splits of Parquet files that others made, by their names."""

import re
from collections.abc import Sequence
from pathlib import Path

from dataset_scripts.builders.schema import PERSON_SEARCH_SPLITS

__all__ = ["SPLIT_NAMES", "named_shards"]

SPLIT_NAMES = {
    **{name: name for name in PERSON_SEARCH_SPLITS},
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "testing": "test",
    "eval": "test",
}
"""What files, folders and Hub splits call a split -> its name here."""

_WORD = re.compile(r"[^\W\d_]+")
_COUNT = re.compile(r"-of-(\d+)")


def named_shards(folder: Path) -> dict[str, list[Path]]:
    """Return the Parquet files below a folder by the split they are named after.

    Raises ValueError: a file without a split, a split under two names, or a missing shard.
    """
    found: dict[str, dict[str, list[Path]]] = {}
    unknown: list[Path] = []
    for path in sorted(folder.rglob("*.parquet")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        word = _split_word(path.relative_to(folder))
        if word is None:
            unknown.append(path)
        else:
            found.setdefault(SPLIT_NAMES[word], {}).setdefault(word, []).append(path)
    if not found:
        return {}
    if unknown:
        raise ValueError(
            f"{unknown[0]} is named after no split, so that its rows would be left out. Name it train-..., "
            "validation-... or test-..., or move it elsewhere."
        )
    for split, by_word in found.items():
        if len(by_word) > 1:
            raise ValueError(f"{folder} names the {split} split in two ways: {' and '.join(by_word)}. Keep one.")
        _check_count(folder, split, next(iter(by_word.values())))
    return {split: next(iter(found[split].values())) for split in PERSON_SEARCH_SPLITS if split in found}


def _split_word(path: Path) -> str | None:
    for part in (path.stem, *reversed(path.parts[:-1])):
        word = _WORD.match(part)
        if word and word[0].lower() in SPLIT_NAMES:
            return word[0].lower()
    return None


def _check_count(folder: Path, split: str, files: Sequence[Path]) -> None:
    counts = {match[1] for file in files if (match := _COUNT.search(file.name))}
    if counts and counts != {f"{len(files):05d}"} and {int(count) for count in counts} != {len(files)}:
        raise ValueError(
            f"{folder} has {len(files)} of {'/'.join(str(int(count)) for count in sorted(counts))} {split} shards. "
            "Copy the folder again."
        )
