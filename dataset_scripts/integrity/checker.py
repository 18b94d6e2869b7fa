"""The check of a folder, from its layout to its last image: everything that is wrong, in one run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
from dataset_scripts.integrity.image_checks import check_images
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
    """Checks a folder against everything that loading it would, and more, and goes on after each problem.

    Args:
        folder: the data set.
        layout: its format.
        annotation_only: look at no image.
        decode: read every image whole, as training does, not only its header, and look for the same picture twice.
        tokenizer: counts the tokens of captions exactly.
        against: other data sets, whose training images must not be held out here, nor the other way round.

    Raises:
        FileNotFoundError: no such folder, or no annotation file in it.
        ValueError: a folder in `against` has none of the known formats.
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
    """Finds missing parts of a folder. Returns the folder of images, None where it is missing.

    Raises FileNotFoundError where there is no annotation to read.
    """
    if not folder.is_dir() or not layout.annotations(folder):
        layout.find(folder)
    root = folder / layout.image_folder
    if not root.is_dir():
        findings.add("missing_folder", f"{layout.image_folder}/, with all images")
        return None
    try:
        layout.find(folder)
    except FileNotFoundError as error:
        findings.add("missing_annotation", str(error))
    return root
