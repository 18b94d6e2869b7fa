"""Append-only `metrics.jsonl` that survives a kill."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from dataset_scripts.common.files import without_non_finite, write_atomically
from dataset_scripts.common.numbers import check_integer
from dataset_scripts.common.text.documents import read_bytes
from trainers.run_folder.curves import plot_curves
from trainers.run_folder.files import is_number, parsed_json

MOST_BYTES = 1 << 30  # a line has 200
DRAWN = ("loss", "learning_rate", "R@1", "mAP")

logger = logging.getLogger(__name__)


class MetricsLog:
    """Append records to `metrics.jsonl`, one JSON object a line; a context manager.

    Opening cuts off an incomplete last line, with a warning. Records go to the operating system at once, and to disk
    on `close`.

    Args:
        path: the file; created with its folder if missing.

    Raises OSError: the file cannot be written.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_dir():
            raise IsADirectoryError(f"{self.path} is a folder; remove it: the figures so far are lost then")
        _cut_torn_line(self.path)
        self._file = open(self.path, "ab")

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record.

        Args:
            record: JSON values by name, with `stage` (a string) and `step` (optimizer steps taken in that stage, 0 or
                more). Non-finite numbers become null.

        Raises:
            ValueError: `stage` or `step` is missing or out of range.
            TypeError: a value is not a JSON type; nothing is written.
        """
        if not isinstance(record.get("stage"), str):
            raise ValueError(f"The record's stage is {record.get('stage')!r}: every record names its stage.")
        check_integer("The record's step", record.get("step"), least=0)
        line = json.dumps(without_non_finite(record), allow_nan=False, ensure_ascii=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def truncate_after(self, stage: str, step: int) -> None:
        """Remove, atomically, records after `step` of `stage`, which a resumed run logs again.

        Records of `stage` up to `step` stay, and those of all earlier stages in the file.

        Raises ValueError: a line of the file is not a record.
        """
        records = read_metrics(self.path)
        stages = list(dict.fromkeys(record["stage"] for record in records))  # in order of first appearance
        earlier = stages[: stages.index(stage)] if stage in stages else stages
        kept = [
            record
            for record in records
            if record["stage"] in earlier or (record["stage"] == stage and record["step"] <= step)
        ]
        self.close()
        lines = [json.dumps(record, allow_nan=False, ensure_ascii=False) + "\n" for record in kept]
        write_atomically(self.path, "".join(lines).encode())
        self._file = open(self.path, "ab")

    def close(self) -> None:
        """Force all records to disk and close the file; may be called again."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Read the records of a `metrics.jsonl`, without an incomplete last line.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is not a record; the message names the file and the line.
    """
    try:
        whole_lines = read_bytes(Path(path), MOST_BYTES).split(b"\n")[:-1]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            f"{path} cannot be read ({reason}); put it back from a copy, or remove it: its figures are lost then"
        ) from error
    return [_parsed(line, f"{path}, line {number}") for number, line in enumerate(whole_lines, start=1)]


def _parsed(line: bytes, place: str) -> dict[str, Any]:
    record = parsed_json(line, place, "remove the line: its figures are lost")
    if not isinstance(record, dict) or not isinstance(record.get("stage"), str) or "step" not in record:
        raise ValueError(
            f"{place} is {line.decode()[:80]!r}: it must be an object with stage and step; remove the line."
        )
    try:
        check_integer(f"step in {place},", record["step"], least=0)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{error} Remove the line.") from error
    for name in DRAWN:
        if not (record.get(name) is None or is_number(record[name])):
            raise ValueError(f"{place}: {name} is {str(record[name])[:80]!r}, but must be a number; remove the line.")
    return record


def _cut_torn_line(path: Path) -> None:
    """Cut off text after the last line end of an existing file."""
    if not path.exists():
        return
    try:
        content = read_bytes(path, MOST_BYTES)
    except ValueError as error:
        raise OSError(f"{path} cannot be read ({error}); remove it: its figures are lost then") from error
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        logger.warning("%s ends in half a record, as after a kill: its last %d bytes go.", path, len(content) - whole)
        os.truncate(path, whole)


__all__ = ["MetricsLog", "plot_curves", "read_metrics"]
