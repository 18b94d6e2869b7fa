"""Check a folder from its layout to its last image."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_scripts.annotations.folders import near_folder
from dataset_scripts.builders.image_files import ImageFolder
from dataset_scripts.formats import AnnotationFormat, detect_format
from dataset_scripts.integrity.annotation_checks import read_annotation
from dataset_scripts.integrity.caption_lengths import CaptionLengths
from dataset_scripts.integrity.counts import (
    check_counts,
    check_drawing,
    check_person_ids,
    count_splits,
    person_id_range,
)
from dataset_scripts.integrity.duplicates import check_duplicates
from dataset_scripts.integrity.findings import Findings
from dataset_scripts.integrity.image_checks import check_images, check_unnamed
from dataset_scripts.integrity.image_rows import image_rows
from dataset_scripts.integrity.leak_checks import check_leaks
from dataset_scripts.integrity.report import FolderReport
from dataset_scripts.integrity.row_checks import check_captions, check_splits, new_captions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["check_folder"]


def check_folder(
    folder: str | Path,
    layout: AnnotationFormat,
    *,
    annotation_only: bool = False,
    decode: bool = False,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    against: Sequence[str | Path] = (),
) -> FolderReport:
    """Report every problem that would stop loading, and more.

    Args:
        folder: the data set.
        layout: its format.
        annotation_only: do not look at images.
        decode: decode every image, as training does, and look for repeated pictures; otherwise read headers.
        tokenizer: counts caption tokens exactly.
        against: other data sets, checked for leaks in both directions.

    Raises:
        FileNotFoundError: the folder or its annotation is missing.
        ValueError: a folder in `against` has no known format.
        OSError: an annotation file cannot be read.
    """
    folder = Path(folder).expanduser().absolute()
    others = [(Path(other).expanduser().absolute(), detect_format(other)) for other in against]
    findings = Findings()
    root = _check_layout(folder, layout, findings)
    lengths = CaptionLengths(tokenizer)
    annotation = read_annotation(layout, folder, lengths, findings)
    rows = image_rows(annotation.columns, layout.identity_per_image, folder)
    new = new_captions(rows)
    check_splits(rows, findings)
    check_captions(rows, new, findings)
    splits = count_splits(rows, new)
    shares = (0.0, 0.0)
    if annotation.complete:
        # Where rows were lost, what follows from that is not worth a line of its own.
        shares = layout.shares(folder)
        check_counts(splits, layout, any(shares), findings)
        check_person_ids(rows, layout, findings)
        check_drawing(shares, splits, findings)
    seen = None
    if root and not annotation_only:
        seen = check_images(ImageFolder(root), rows, decode, findings)
        if annotation.complete:
            check_unnamed(root, rows, findings)
        check_duplicates(rows, seen, findings)
        check_leaks(root, rows, seen, others, findings)
    return FolderReport(
        folder=folder,
        layout=layout,
        rows=annotation.rows,
        images=len(rows.images),
        good_images=None if seen is None else len(seen.rows),
        checked="nothing" if seen is None else "pixels" if decode else "headers",
        splits=splits,
        shares=shares,
        person_ids=None if layout.identity_per_image else person_id_range(rows),
        context=lengths.context,
        exact_tokens=lengths.exact,
        against=tuple(str(other) for other, _ in others),
        findings=findings,
    )


def _check_layout(folder: Path, layout: AnnotationFormat, findings: Findings) -> Path | None:
    """Report missing parts; return the image folder, or None if missing."""
    if not folder.is_dir() or not layout.annotations(folder):
        layout.find(folder)
    root = folder / layout.image_folder
    if not root.is_dir():
        if near := near_folder(folder, layout.image_folder):
            findings.add("misnamed_folder", f"{near}/ in place of {layout.image_folder}/")
        else:
            findings.add("missing_folder", f"{layout.image_folder}/, with all images")
        return None
    try:
        layout.find(folder)
    except FileNotFoundError as error:
        findings.add("missing_annotation", str(error))
    return root
