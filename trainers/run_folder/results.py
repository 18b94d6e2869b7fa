"""Results of stages, and evaluations as rows of `results.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from modeling_prompt_clip.retrieval import Interval
from trainers.arguments.settings import TwoStageTrainingArguments


@dataclass
class StageResult:
    """How a stage ended."""

    steps: int = 0  # optimizer steps that were run
    best_step: int = 0  # the step whose weights were kept
    # their validation metrics, in percent; empty where there is no validation split
    best_metrics: dict[str, float] = field(default_factory=dict)
    skipped_steps: int = 0  # steps among them that changed nothing, because their loss or gradient was not finite
    seconds: float = 0.0  # wall-clock time of the stage, evaluations included


def stage_result(entry: Mapping[str, Any]) -> StageResult:
    """Return the result of a stage from its entry in `progress.json`."""
    return StageResult(**{each.name: entry[each.name] for each in fields(StageResult)})


def result_rows(
    args: TwoStageTrainingArguments,
    stage: str,
    split: str,
    step: int,
    metrics: Mapping[str, Mapping[str, float]],
    intervals: Mapping[str, Mapping[str, Interval]] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Format an evaluation as rows of `results.json`.

    Args:
        args: of the run.
        stage: `"base"`, `"one"` or `"two"`: the stage before the evaluation.
        split: evaluated split.
        step: optimizer steps taken in that stage.
        metrics: by direction, in percent by name.
        intervals: of these metrics, if computed.
        facts: of the split, from [`evaluation_facts`].
    """
    methods = {
        "base": "stage one" if args.adapter else "zero-shot",  # an adapter is merged before the run starts
        "one": "stage one",
        "two": "direct" if args.direct else "two-stage",
    }
    shared = {"stage": stage, "method": methods[stage], "split": split}
    rows = []
    for direction, values in metrics.items():
        rows.append({**shared, "direction": direction, "step": step, **(facts or {}), "metrics": dict(values)})
        if intervals is not None:
            rows[-1]["intervals"] = {name: interval.to_list() for name, interval in intervals[direction].items()}
    return rows


__all__ = ["StageResult", "result_rows", "stage_result"]
