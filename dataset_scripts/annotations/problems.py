"""The kinds of problems that a data set's folder can have: one table, used by the readers and by `data check`."""

from types import MappingProxyType
from typing import NamedTuple

__all__ = ["PROBLEMS", "SKIPPED_PROBLEMS", "Problem"]


class Problem(NamedTuple):
    """One kind of problem.

    Attributes:
        severity: `error` (the set cannot be used as it is) or `warning` (it can; the user should know).
        what: what is wrong, in a few words, for a table.
        remedy: what to do about it, as one sentence.
    """

    severity: str
    what: str
    remedy: str


def _error(what: str, remedy: str) -> Problem:
    return Problem("error", what, remedy)


def _warning(what: str, remedy: str) -> Problem:
    return Problem("warning", what, remedy)


PROBLEMS = MappingProxyType(
    {
        # the annotation file
        "not_json": _error(
            "annotation cut short or not in its file format", "Restore the file from its source; save it as UTF-8."
        ),
        "encoding": _error("annotation is not UTF-8", "Save the file as UTF-8."),
        "byte_order_mark": _warning(
            "annotation starts with a byte-order mark",
            "It is read all the same; other programs may stumble: save the file as UTF-8 without it.",
        ),
        "missing_annotation": _error("annotation file missing", "Copy it from its source."),
        # one row
        "bad_row": _error("row that is no object with the fields of one image", "Mend or remove the row."),
        "missing_field": _error("field missing in a row", "Add it, or remove the row."),
        "bad_field": _error("field of the wrong kind", "Correct the row."),
        "bad_person_id": _error("person id that is no whole number of 0 or more", "Number the persons."),
        "unknown_split": _error("unknown split name", "Correct the row."),
        "no_caption": _error("row without a caption", "Add one, or remove the row."),
        "empty_caption": _error("empty caption", "Remove it, or remove the row."),
        "bad_text": _error("text that is not valid Unicode", "Save the file as UTF-8 and mend it."),
        "bad_path": _error(
            "path that leaves the image folder", "Write paths relative to the image folder, without '..', with '/'."
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
            "caption of more than one person", "It cannot tell them apart, in training or in a test; none, or edit it."
        ),
        "long_caption": _warning("caption longer than the text context", "Its end is cut off; shorten it, or accept."),
        "person_id_gap": _warning("person ids with gaps", "None: labels are made by sorting; rows may be missing."),
        "person_id_base": _warning("person ids start elsewhere than published", "Compare the file with its source."),
        "missing_split": _warning("no image in a split", "Nothing can be trained, selected or tested on it."),
        "other_counts": _warning("counts differ from the published ones", "Compare the copy with its source."),
        # image files
        "missing_folder": _error("folder of images missing", "Copy it from the original archive."),
        "missing_image": _error("image missing", "Restore it from the original archive, or remove its rows."),
        "link_out": _error("image path leads out of the image folder by a link", "Copy the file into the folder."),
        "empty_image": _error("image file of 0 bytes", "Restore it from the original archive."),
        "not_an_image": _error("file that is no image", "Restore it from the original archive."),
        "truncated_image": _error("image cut short or damaged", "Restore it from the original archive."),
        "huge_image": _error("image of absurd size", "Crop the person, or remove the row."),
        "deep_image": _error(
            "image without a defined white, or black once its 16 bits are scaled",
            "Save it as RGB, with 8 bits a channel.",
        ),
        "odd_mode": _warning(
            "image that is not RGB", "It is converted, transparency to white: look at what comes out."
        ),
        "rotated_image": _warning("image turned by its EXIF tag", "It is turned upright; other programs may not."),
        "copied_image": _warning("image files with the same bytes", "None, or keep one of them."),
        "copied_image_of_two_persons": _warning(
            "image files with the same bytes under two person ids", "One of the ids is wrong: correct it."
        ),
        "similar_image": _warning("images that show the same picture", "None, or keep one of them."),
        "picture_in_two_splits": _warning(
            "picture in the training split and in another", "What is tested on it was seen in training: remove one."
        ),
        # between sets
        "leak": _error("training image that is also in a test split", "Leave it out: --on_leak drop."),
    }
)
"""Name of a kind -> its severity, a few words, and the remedy."""

SKIPPED_PROBLEMS = frozenset(
    (
        "missing_folder",
        "missing_image",
        "empty_image",
        "not_an_image",
        "truncated_image",
        "huge_image",
        "deep_image",
    )
)
"""The errors that `on_bad_image="skip"` passes over, leaving the images out."""
