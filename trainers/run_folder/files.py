"""Read the files of a run folder, or name the damaged one and its remedy."""

from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

from dataset_scripts.common.text.documents import MOST_BYTES, parse_json, read_text, read_yaml
from dataset_scripts.common.text.printable import one_line, shown
from trainers.arguments.settings import TwoStageTrainingArguments

STAGES = ("one", "two")
FIGURES_LOST = "put it back from a copy, or remove it: the run resumes, but its figures so far are lost"
START_AGAIN = "put it back from a copy, or start the run again with overwrite_output_dir"


def read_config(path: Path) -> dict[str, Any]:
    """Read the settings in a run's `config.yaml`; those an earlier version lacked are missing.

    Raises:
        OSError: it is missing or cannot be read.
        ValueError: it is damaged, or holds an unknown setting.
    """
    try:
        content = read_yaml(path)
    except ValueError as error:
        raise ValueError(f"{path} is no YAML that can be read ({_words(error)}); {START_AGAIN}") from error
    except OSError as error:
        raise _unreadable(path, error, START_AGAIN) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is {shown(content)}, but must be a mapping of settings; {START_AGAIN}")
    known = get_type_hints(TwoStageTrainingArguments)
    for name, value in content.items():
        if name not in known:
            raise ValueError(f"{path} has the unknown setting {shown(name)}; remove it, or {START_AGAIN}")
        kinds = get_args(known[name]) if isinstance(known[name], UnionType) else (known[name],)
        if str in kinds and set(kinds) <= {str, NoneType} and not isinstance(value, kinds):
            raise ValueError(f"{path}: {name} is {shown(value)}, but must be text; {START_AGAIN}")
    return content


def read_arguments(path: Path) -> TwoStageTrainingArguments:
    """Read a run's `config.yaml` as arguments.

    Raises OSError, ValueError: see [`read_config`]; a value that its setting does not take.
    """
    content = read_config(path)
    if content.get("base_model") is None:  # every run has recorded it
        raise ValueError(f"{path} names no base_model; {START_AGAIN}")
    try:
        return TwoStageTrainingArguments(**content)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: {_words(error)}; {START_AGAIN}") from error


def read_results(path: Path) -> list[dict[str, Any]]:
    """Read the evaluations in a `results.json`; empty without the file.

    Rows of the run have a `stage`; rows added by `prompt-clip evaluate --output` have none and are not checked.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or a row of the run lacks a field.
    """
    rows = read_json(path, FIGURES_LOST, absent=[])
    if not isinstance(rows, list):
        raise ValueError(f"{path} is {shown(rows)}, but must be a list of evaluations; {FIGURES_LOST}")
    for number, row in enumerate(rows, start=1):
        if problem := _wrong_row(row):
            raise ValueError(f"{path}, row {number}: {problem}; {FIGURES_LOST}")
    return rows


def read_progress(path: Path) -> dict[str, dict[str, Any]]:
    """Read the result of each finished stage; empty without the file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    content = read_json(path, START_AGAIN, absent={})
    if problem := wrong_progress(content):
        raise ValueError(f"{path}: {problem}; {START_AGAIN}")
    return content


def wrong_progress(content: object) -> str:
    """Describe the fault of a JSON value as `progress.json`; empty if valid."""
    if not isinstance(content, dict):
        return f"it is {shown(content)}, but must be an object"
    for name, entry in content.items():
        if name not in STAGES or not isinstance(entry, dict):
            return f"{shown(name)} is {shown(entry)}, but must be stage one or two and how it ended"
        for counted in ("steps", "best_step", "skipped_steps"):
            if not _is_count(entry.get(counted)):
                return f"{counted} of stage {name} is {shown(entry.get(counted))}, but must be an integer from 0"
        if not is_number(entry.get("seconds")):
            return f"seconds of stage {name} is {shown(entry.get('seconds'))}, but must be a number"
        best = entry.get("best_metrics")
        if not isinstance(best, dict) or not all(value is None or is_number(value) for value in best.values()):
            return f"best_metrics of stage {name} is {shown(best)}, but must hold numbers by name"
    return ""


def read_json(path: Path, remedy: str, absent: Any = None) -> Any:
    """Read a JSON file; `absent` without the file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or has non-finite numbers; the message names the file and the `remedy`.
    """
    if not path.exists():
        return absent
    try:
        text = read_text(path, MOST_BYTES)
    except ValueError as error:
        raise ValueError(f"{path} is no JSON that can be read ({_words(error)}); {remedy}") from error
    except OSError as error:
        raise _unreadable(path, error, remedy) from error
    return parsed_json(text, str(path), remedy)


def parsed_json(text: str | bytes, place: str, remedy: str) -> Any:
    """Parse JSON text, with the errors of [`read_json`]."""
    try:
        return parse_json(text, finite=True)
    except ValueError as error:
        raise ValueError(f"{place} is no JSON that can be read ({_words(error)}); {remedy}") from error


def is_number(value: object) -> bool:
    """Whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _unreadable(path: Path, error: OSError, remedy: str) -> OSError:
    return OSError(f"{path} cannot be read ({error.strerror or error}); {remedy}")


def _wrong_row(row: object) -> str:
    """Describe the fault of a row of `results.json`; empty if valid."""
    if not isinstance(row, dict):
        return f"it is {shown(row)}, but must be an object"
    if "stage" not in row:
        return ""
    for name in ("stage", "method", "split", "direction"):
        if not isinstance(row.get(name), str):
            return f"{name} is {shown(row.get(name))}, but must be text"
    metrics = row.get("metrics")
    if not isinstance(metrics, dict):
        return f"metrics is {shown(metrics)}, but must be an object"
    for name, value in metrics.items():
        if value is not None and not is_number(value):
            return f"metrics.{name} is {shown(value)}, but must be a number"
    for name in ("R@1", "R@5", "R@10", "mAP", "mINP"):
        if name not in metrics:
            return f"metrics has no {name}"
    for name in ("queries", "gallery", "unanswerable_queries"):
        if not is_number(metrics.get(name)) or metrics[name] < 0 or metrics[name] % 1:
            return f"metrics.{name} is {shown(metrics.get(name))}, but must be an integer from 0"
    return _wrong_intervals(row.get("intervals", {}))


def _wrong_intervals(intervals: object) -> str:
    if not isinstance(intervals, dict):
        return f"intervals is {shown(intervals)}, but must be an object"
    for name, ends in intervals.items():
        if not isinstance(ends, list) or len(ends) != 2 or not all(is_number(end) for end in ends):
            return f"intervals.{name} is {shown(ends)}, but must be two numbers"
    return ""


def _words(error: BaseException) -> str:
    return one_line(error)[:300]


__all__ = [
    "is_number",
    "parsed_json",
    "read_arguments",
    "read_config",
    "read_json",
    "read_progress",
    "read_results",
    "wrong_progress",
]
