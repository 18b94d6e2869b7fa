"""The check's report as text."""

from collections.abc import Iterator, Sequence

from dataset_scripts.annotations.problems import PROBLEMS, SEVERITIES
from dataset_scripts.common.text.printable import printable
from dataset_scripts.formats.base import SplitCounts
from dataset_scripts.integrity.counts import total_counts
from dataset_scripts.integrity.findings import Example
from dataset_scripts.integrity.report import FolderReport

__all__ = ["report_text"]

_EXAMPLES_SHOWN = 3
_FILES_SHOWN = 4
_TEXT_SHOWN = 400  # of a longer text its start and, where the rule and remedy stand, its end
_LOOKED = {
    "nothing": "not looked at",
    "headers": "headers and file ends read; --decode reads them whole",
    "pixels": "read whole",
}


def report_text(report: FolderReport, strict: bool = False) -> str:
    """Format the report; with `strict`, warnings also fail the check."""
    blocks = [_head(report), _split_table(report)]
    blocks += [block for severity in SEVERITIES for block in _problems(report, severity)]
    blocks.append(_verdict(report, strict))
    return "\n\n".join(map(printable, blocks)) + "\n"


def _verdict(report: FolderReport, strict: bool) -> str:
    errors, warnings = (len(report.findings.kinds(severity)) for severity in ("error", "warning"))
    also = f", and {_number(warnings, 'kind')} of warning" if warnings else ""
    if errors:
        rest = ""
        if report.usable_with_skip:
            rest = f" --on_bad_image skip trains on the other {report.good_images:,} images."
        return f"Not usable as it is: {_number(errors, 'kind')} of error{also}.{rest}"
    if warnings:
        refused = " Not passed, under --strict." if strict else ""
        return f"Usable, with {_number(warnings, 'kind')} of warning.{refused}"
    if notes := report.findings.kinds("note"):
        return f"Usable, with {_number(len(notes), 'kind')} of note."
    return "Usable. Nothing wrong was found."


def _head(report: FolderReport) -> str:
    files = report.annotation_files
    more = f" and {len(files) - _FILES_SHOWN} more" if len(files) > _FILES_SHOWN else ""
    place = f" in {report.layout.image_folder}/" if report.layout.image_folder else ""
    lines = [
        f"{report.layout.title} ({report.layout.name}) in {report.folder}",
        "",
        f"annotation  {', '.join(files[:_FILES_SHOWN])}{more}: {_number(report.rows, 'row')}",
        f"images      {report.images:,}{place}, {_LOOKED[report.checked]}",
    ]
    if report.person_ids:
        lines.append(f"person ids  {report.person_ids[0]} to {report.person_ids[1]}")
    if any(report.shares):
        validation, test = (f"{share:.0%}" for share in report.shares)
        lines.append(
            f"splits      none; loading draws about {validation} of the persons for validation, {test} for test"
        )
    if report.against:
        lines.append(f"against     {', '.join(report.against)}")
    return "\n".join(lines)


def _split_table(report: FolderReport) -> str:
    published, total = report.layout.published, report.layout.published_total
    rows: list[Sequence[str]] = [("split", *SplitCounts._fields, "published")]
    for name, counts in report.splits.items():
        rows.append((name, *map(_count, counts), _comparison(counts, published.get(name))))
    if total:
        counts = total_counts(report.splits)
        rows.append(("together", *map(_count, counts), _comparison(counts, total)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *numbers, note in rows:
        cells = [number.rjust(width) for number, width in zip(numbers, widths[1:-1], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells, note]).rstrip())
    return "\n".join(lines)


def _comparison(found: SplitCounts, published: SplitCounts | None) -> str:
    if published is None or not any(published):
        return "-"
    agrees = all(right in (None, count) for count, right in zip(found, published, strict=True))
    return "the same" if agrees else " / ".join(map(_count, published))


def _problems(report: FolderReport, severity: str) -> Iterator[str]:
    for kind in report.findings.kinds(severity):
        count, problem = report.findings.counts[kind], PROBLEMS[kind]
        shown = report.findings.examples[kind][:_EXAMPLES_SHOWN]
        bound = "at least " if kind == "long_caption" and not report.exact_tokens else ""
        lines = [f"{severity}: {problem.what} ({kind}), {bound}{_number(count, 'case')}"]
        lines += [f"  {_example(report, example)}" for example in shown]
        if count > len(shown):
            lines.append("  ...")
        yield "\n".join([*lines, f"  -> {problem.remedy}"])


def _example(report: FolderReport, example: Example) -> str:
    file = example.file if len(report.annotation_files) > 1 else None
    row = None if example.row is None else f"row {example.row}"
    text = example.text
    if len(text) > _TEXT_SHOWN:
        text = f"{text[: _TEXT_SHOWN // 2]} ... {text[-_TEXT_SHOWN // 2 :]}"
    return ": ".join(filter(None, [" ".join(filter(None, [file, row])), text]))


def _number(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def _count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
