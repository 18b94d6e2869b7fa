import json
import logging
import math
from pathlib import Path

import pytest

from trainers.run_folder.metrics_log import MetricsLog, read_metrics


def record(stage: str = "one", step: int = 1, **values):
    return {"stage": stage, "step": step, **values}


def test_records_are_read_back_in_order_and_appended_to(tmp_path: Path):
    path = tmp_path / "run" / "metrics.jsonl"
    first, second = record(loss=0.25, split="train"), record("two", 0, note="Größe")
    with MetricsLog(path) as log:
        log.write(first)
        assert read_metrics(path) == [first]  # at once, not only after closing
    with MetricsLog(path) as log:
        log.write(second)
    assert read_metrics(path) == [first, second]
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == [first, second]


def test_numbers_that_are_not_finite_are_null(tmp_path: Path):
    with MetricsLog(tmp_path / "m.jsonl") as log:
        log.write(record(loss=math.nan, norm=math.inf))
    assert (tmp_path / "m.jsonl").read_text() == '{"stage": "one", "step": 1, "loss": null, "norm": null}\n'


def test_a_line_torn_at_any_byte_is_cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "m.jsonl"
    with MetricsLog(path) as log:
        log.write(record(step=1))
        log.write(record(step=2, note="é"))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole)):
        path.write_bytes(whole[:length])
        assert read_metrics(path) == [record(step=1)]
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            MetricsLog(path).close()
        assert path.read_bytes() == whole[:first]
        assert ("half a record" in caplog.text) == (length > first)


def test_writing_goes_on_after_a_torn_line(tmp_path: Path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"stage": "one", "step": 1}\n{"stage": "on')
    with MetricsLog(path) as log:
        log.write(record(step=2))
    assert read_metrics(path) == [record(step=1), record(step=2)]


@pytest.mark.parametrize(
    ("stage", "step", "kept"),
    [
        ("one", 20, ["zero", "one 10", "one 20"]),
        ("one", 15, ["zero", "one 10"]),
        ("one", 0, ["zero"]),
        ("one", 99, ["zero", "one 10", "one 20", "one 30"]),
        ("two", 0, ["zero", "one 10", "one 20", "one 30"]),
        ("two", 10, ["zero", "one 10", "one 20", "one 30", "two 10"]),
        ("never seen", 0, ["zero", "one 10", "one 20", "one 30", "two 10", "two 20"]),
    ],
)
def test_a_resumed_run_forgets_what_came_later(tmp_path: Path, stage: str, step: int, kept: list[str]):
    path = tmp_path / "m.jsonl"
    with MetricsLog(path) as log:
        log.write(record("zero-shot", 0, name="zero"))
        for name, steps in (("one", (10, 20, 30)), ("two", (10, 20))):
            for number in steps:
                log.write(record(name, number, name=f"{name} {number}"))
        log.truncate_after(stage, step)
        assert [entry["name"] for entry in read_metrics(path)] == kept
        log.write(record("two", 30, name="new"))
    assert [entry["name"] for entry in read_metrics(path)] == [*kept, "new"]
    assert [file.name for file in tmp_path.iterdir()] == ["m.jsonl"]


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"step": 1}, ValueError, "stage is None"),
        ({"stage": "one"}, TypeError, "step is None"),
        ({"stage": "one", "step": -1}, ValueError, "step is -1"),
        ({"stage": "one", "step": 1, "loss": object()}, TypeError, "not JSON serializable"),
    ],
)
def test_a_bad_record_is_refused_and_leaves_no_trace(tmp_path: Path, bad: dict, error: type[Exception], message: str):
    path = tmp_path / "m.jsonl"
    with MetricsLog(path) as log:
        log.write(record())
        with pytest.raises(error, match=message):
            log.write(bad)
    assert read_metrics(path) == [record()]


@pytest.mark.parametrize("line", [b"half", b"[1]", b'{"loss": 1}', b"\xff"])
def test_a_broken_line_is_named(tmp_path: Path, line: bytes):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"stage": "one", "step": 1}\n' + line + b"\n")
    with pytest.raises(ValueError, match=r"m\.jsonl, line 2 is"):
        read_metrics(path)


def test_closing_twice_does_no_harm(tmp_path: Path):
    log = MetricsLog(tmp_path / "m.jsonl")
    log.close()
    log.close()
