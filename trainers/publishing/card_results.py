"""The results of a run for its card."""

from collections.abc import Sequence
from typing import Any

from dataset_scripts.common.text.markdown import as_text
from modeling_prompt_clip.hub.card_facts import Table
from modeling_prompt_clip.retrieval import PROTOCOL
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.data.split_facts import row_text

METRICS = ("R@1", "R@5", "R@10", "mAP", "mINP")


def results_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Make a table of rows of `results.json`, with intervals where known."""
    cells = [
        (row["method"], row["split"], row["direction"].replace("_", " "), *(figure(row, name) for name in METRICS))
        for row in rows
    ]
    return Table(_sizes(rows), ("method", "split", "direction", *METRICS), tuple(cells), labels=3)


def figure(row: dict[str, Any], name: str) -> str:
    """Format a figure in percent, with its interval if known."""
    if row["metrics"][name] is None:  # not finite, which JSON does not have
        return "none"
    value = f"{row['metrics'][name]:.2f}"
    if name not in row.get("intervals", {}):
        return value
    low, high = row["intervals"][name]
    return f"{value} ({low:.2f} to {high:.2f})"


def protocol(rows: Sequence[dict[str, Any]]) -> str:
    """Describe how figures were measured and weights selected."""
    selected = any(row["split"] == "validation" and row["stage"] != "base" for row in rows)
    by = "R@1 on the validation split" if selected else "nothing: the last weights of each stage were kept"
    sentences = [f"{PROTOCOL[0].upper()}{PROTOCOL[1:]}."] if rows else []
    if any(row["direction"] == "image_to_text" for row in rows):
        sentences.append("Image to text, every image queries all captions.")
    sentences.append(f"Weights were selected by {by}.")
    if any(row["split"] == "test" for row in rows):
        sentences.append("The test split was evaluated once for each model, at the end.")
    if any("intervals" in row for row in rows):
        sentences.append(
            "In brackets: 95 % intervals over persons (2,000 bootstrap draws); they do not say what another seed "
            "would change."
        )
    return " ".join(sentences)


def not_measured(args: TwoStageTrainingArguments, rows: Sequence[dict[str, Any]]) -> str:
    """Name what the table does not show."""
    test = "" if any(row["split"] == "test" for row in rows) else "the test split, "
    return f"Not measured: {test}other seeds than {args.seed}, other data sets, other cameras."


def _sizes(rows: Sequence[dict[str, Any]]) -> str:
    sentences = {"In percent.": None}
    for row in rows:
        metrics = row["metrics"]
        if row["direction"] == "text_to_image":
            missing = metrics["unanswerable_queries"]
            left_out = f", and {missing:,} left out, whose person is on no image" if missing else ""
            split = as_text(row["split"].capitalize())
            facts = f", {as_text(known)}" if (known := row_text(row)) else ""
            sentence = f"{split}: {metrics['queries']:,} captions{left_out}; {metrics['gallery']:,} images{facts}."
            sentences[sentence] = None
    return " ".join(sentences)


__all__ = ["METRICS", "figure", "not_measured", "protocol", "results_table"]
