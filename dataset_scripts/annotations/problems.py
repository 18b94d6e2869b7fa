"""The kinds of problems that readers and `data check` report."""

from types import MappingProxyType
from typing import NamedTuple

__all__ = ["PROBLEMS", "SEVERITIES", "SKIPPED_PROBLEMS", "Problem"]


SEVERITIES = ("error", "warning", "note")


class Problem(NamedTuple):
    """One kind of problem."""

    # `error` (the set cannot be used), `warning` (it can, but something is probably wrong; fails under --strict) or
    # `note` (worth knowing)
    severity: str
    what: str  # what is wrong, in a few words
    remedy: str  # what to do, in one sentence


def _error(what: str, remedy: str) -> Problem:
    return Problem("error", what, remedy)


def _warning(what: str, remedy: str) -> Problem:
    return Problem("warning", what, remedy)


def _note(what: str, remedy: str) -> Problem:
    return Problem("note", what, remedy)


PROBLEMS = MappingProxyType(
    {
        # the annotation file
        "not_json": _error(
            "annotation cut short, or not in its file format",
            "Correct the file as said here, or copy it from its source.",
        ),
        "encoding": _error("annotation is not UTF-8", "Save the file as UTF-8."),
        "byte_order_mark": _warning(
            "annotation starts with a byte-order mark",
            "It is read correctly, but other programs may fail: save the file as UTF-8 without it.",
        ),
        "missing_annotation": _error("annotation file missing", "Copy it from its source."),
        # one row
        "bad_row": _error("row that is not an object with the fields of one image", "Fix or remove the row."),
        "missing_field": _error("field missing in a row", "Add it, or remove the row."),
        "bad_field": _error("field of the wrong type", "Correct the row."),
        "bad_person_id": _error(
            "person id that is not a whole number, 0 or greater",
            "Number the persons, each by one number in all rows: ids, _ = pandas.factorize(names). Your own data "
            "(annotations.jsonl) may name them by text.",
        ),
        "unknown_split": _error("unknown split name", "Correct the row."),
        "no_caption": _error("row without a caption", "Add one, or remove the row."),
        "empty_caption": _error("empty caption", "Remove it, or remove the row."),
        "bad_text": _error("text that is not valid Unicode", "Save the file as UTF-8 and fix the text."),
        "bad_path": _error(
            "path that leaves the image folder",
            "Write paths relative to the image folder, without '..' or a drive ('x:'), with '/'.",
        ),
        # rows together
        "person_in_two_splits": _error("person in more than one split", "Give each person one split."),
        "image_of_two_persons": _error("image under two person ids", "Keep the right row."),
        "too_few_persons": _error(
            "too few persons to draw splits from", "Add persons, or name the split of each row in the annotation."
        ),
        "repeated_row": _warning("row that repeats an earlier one", "It adds nothing: remove it."),
        "caption_twice": _warning(
            "caption given twice to one image", "It counts twice, in training and as a query: remove one."
        ),
        "repeated_caption": _warning(
            "caption shared by several persons", "It cannot tell them apart: edit it, or accept that."
        ),
        "long_caption": _warning("caption longer than the text context", "Its end is cut off: shorten it."),
        "odd_caption": _warning(
            "caption with code, markup, an address or a file name", "Keep only the sentence about the person."
        ),
        "other_script": _warning(
            "caption in another script than most", "Translate it, or remove it: a model reads few scripts."
        ),
        "named_person": _note(
            "person with a name in place of a number",
            "They are numbered from 0 in the order of their names, and a new name may change these. To fix them, "
            "write numbers: ids, _ = pandas.factorize(names).",
        ),
        "person_id_gap": _warning("person ids with gaps", "None: labels are made by sorting; rows may be missing."),
        "person_id_base": _warning("first person id not as published", "Compare the file with the source."),
        "missing_split": _warning("split without images", "It cannot be used to train, select or test."),
        "other_counts": _warning("counts differ from the published ones", "Compare the copy with its source."),
        # image files
        "missing_folder": _error("folder of images missing", "Copy it from the original archive."),
        "misnamed_folder": _error("folder of images under another name", "Rename it."),
        "misnamed_image": _error(
            "image that is there under nearly its name",
            "Rename or move the files, or correct the paths: they are relative to the image folder.",
        ),
        "missing_image": _error("image missing", "Restore it from the original archive, or remove its rows."),
        "link_out": _error(
            "image path leaves the image folder through a link",
            "Copy the file into the folder. git-annex: git annex get, then unlock. A snapshot in the Hub's cache: "
            "hf download NAME --repo-type dataset --local-dir DIR.",
        ),
        "empty_image": _error("image file of 0 bytes", "Restore it from the original archive."),
        "unreadable_image": _error(
            "image that is there, but cannot be read", "Check its permissions (chmod -R u+rX DIR) and the disk."
        ),
        "not_an_image": _error(
            "file that is not an image", "Restore it from the original archive, or remove its rows."
        ),
        "pointer_image": _error(
            "pointer in place of an image", "Fetch the images: git lfs pull, or git annex get . (unlock, if linked)."
        ),
        "other_format": _error(
            "picture in a format that is not read",
            "Convert it to JPEG or PNG, for example with ImageMagick: magick FILE FILE.png.",
        ),
        "truncated_image": _error("image cut short or damaged", "Restore it from the original archive."),
        "huge_image": _error("image that is too large", "Crop the person, or remove the row."),
        "deep_image": _error(
            "image without a defined white, or black once its 16 bits are scaled",
            "Save it as RGB, with 8 bits a channel.",
        ),
        "odd_size": _warning(
            "picture too small or too narrow to show a person", "Compare it with its source, or remove its rows."
        ),
        "odd_mode": _warning(
            "image that is not RGB", "It is converted, on white where transparent: check the result."
        ),
        "rotated_image": _warning(
            "image rotated by its EXIF tag", "It is turned upright here; other programs may differ."
        ),
        "copied_image": _warning("image files with the same bytes", "Keep one of them, or accept that."),
        "copied_image_of_two_persons": _warning(
            "image files with the same bytes under two person ids", "Correct the wrong id."
        ),
        "similar_image": _warning("images that show the same picture", "Keep one of them, or accept that."),
        "similar_frames": _note(
            "person with several pictures that are nearly the same",
            "Normal for frames of one video. To weigh a person less, keep one of them.",
        ),
        "unnamed_image": _note(
            "picture that no row names", "It is not used: add its rows, unless the annotation is a part on purpose."
        ),
        "picture_in_two_splits": _warning(
            "picture in the training split and in another", "It would be tested after training on it: remove one."
        ),
        # between sets
        "leak": _error("training image that is also in a test split", "Leave it out: --on_leak drop."),
    }
)
"""Kind -> severity, description and remedy."""

SKIPPED_PROBLEMS = frozenset(
    (
        "missing_folder",
        "misnamed_image",
        "missing_image",
        "empty_image",
        "unreadable_image",
        "not_an_image",
        "pointer_image",
        "other_format",
        "truncated_image",
        "huge_image",
        "deep_image",
    )
)
"""The errors that `on_bad_image="skip"` tolerates by leaving the images out."""
