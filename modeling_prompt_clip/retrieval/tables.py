"""Metrics as a text table."""

from collections.abc import Mapping

from modeling_prompt_clip.retrieval.metrics.query_metrics import RetrievalMetrics

__all__ = ["metrics_table"]


def metrics_table(results: Mapping[str, RetrievalMetrics], header: str = "") -> str:
    """Format results by name, one per line; `header` heads the names."""
    rows = [[name, *map(_cell, metrics.to_dict().values())] for name, metrics in results.items()]
    names = list(next(iter(results.values())).to_dict())
    columns = [header, *names[:-1], "unanswerable"]
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = [columns, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _cell(value: float) -> str:
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}"
