import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataset_scripts.annotations.problems import PROBLEMS
from dataset_scripts.annotations.rows import AnnotationError, AnnotationRow, names_a_person

PARTS = st.sampled_from(["..", ".", "", "a", "b.jpg", "C:", "~", "\\", "..\\", " ", "...", "\0", "\ud800", "é"])
PATHS = st.one_of(st.lists(PARTS, max_size=6).map("/".join), st.text(max_size=12))


def _row(value: object) -> AnnotationRow:
    return AnnotationRow(Path("annotation.json"), 0, {"field": value}, 0)


@given(PATHS)
@example("../x.jpg")
@example("a/../../x.jpg")
@example("//server/x.jpg")
@example("a/./b.jpg")
@settings(deadline=None, max_examples=300)
def test_no_path_leaves_the_image_folder(path: str):
    try:
        image_id = _row(path).image_path("field")
    except ValueError as error:
        assert "annotation.json, row 0: 'field' is" in str(error)
        return
    root = "/data/imgs"
    # realpath reads `..` as the system would, independently of the check.
    assert os.path.realpath(f"{root}/{image_id}").startswith(f"{root}/")
    assert image_id.encode() and not image_id.startswith("/") and "\\" not in image_id
    assert _row(image_id).image_path("field") == image_id


@given(st.lists(st.text("abcXYZ09_- .é", min_size=1, max_size=8).filter(lambda part: part.strip(".")), min_size=1))
@settings(deadline=None, max_examples=100)
def test_ordinary_paths_are_taken_unchanged(parts: list[str]):
    assert _row("/".join(parts)).image_path("field") == "/".join(parts)


@given(st.integers(0, 2**63 - 1))
@settings(max_examples=50)
def test_person_ids_are_kept(value: object):
    assert _row(value).person_id("field") == value


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None, [1], -1, 2**63, float("nan")])
def test_what_is_no_person_id(value: object):
    with pytest.raises(ValueError, match="a person id is a whole number"):
        _row(value).person_id("field")


def test_long_values_are_shortened_in_errors():
    with pytest.raises(ValueError) as caught:
        _row("x" * 100_000 + "\0").image_path("field")
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("caption", ["", " \n", "\u200b", "\0", "...", None])
def test_a_caption_without_a_letter_is_refused(caption: object):
    with pytest.raises(AnnotationError, match="with a letter or digit") as caught:
        _row([caption]).captions("field")
    assert caught.value.kind == "empty_caption" and caught.value.row == 0


NOTHING = [
    *("-nan", "#NA", "#N/A N/A", "1.#IND", "-1.#QNAN", "Infinity", "(null)", "[None]", "\\N", "N.A", "None.", "'nan'"),
    *("<missing>", "#WERT!", "#SPILL!", "-nan(ind)", "\u22121", "2.02 E+11", "-1", "1.0", "2.02E+11"),
]


@pytest.mark.parametrize("text", NOTHING)
def test_what_programs_write_for_nothing_is_no_person_and_no_caption(text: str):
    assert not names_a_person(text)
    with pytest.raises(AnnotationError, match="field.*a caption is"):
        _row(text).caption("field")


@pytest.mark.parametrize("text", ["N", "n", "na_1", "Nan Goldin", "inf-7", "2023.01.01", "12e5", "track-1", "7"])
def test_what_can_be_a_name_is_one(text: str):
    assert names_a_person(text) and _row(text).caption("field") == text


@pytest.mark.parametrize(("value", "text"), [(None, None), ("", None), ("  ", None), (" c1 ", "c1"), ("c1", "c1")])
def test_a_text_is_stripped_and_nothing_is_none(value: object, text: str | None):
    assert _row(value).text("field") == text


def test_a_text_that_is_none_is_refused():
    with pytest.raises(AnnotationError, match="Put it in quotes"):
        _row(7).text("field")


@pytest.mark.parametrize(
    ("call", "value", "kind"),
    [
        ("image_path", "../x.jpg", "bad_path"),
        ("image_path", 7, "bad_field"),
        ("person_id", "1", "bad_person_id"),
        ("captions", [], "no_caption"),
        ("captions", "A man.", "bad_field"),
        ("caption", "\ud800 a", "bad_text"),
    ],
)
def test_an_error_tells_its_kind(call: str, value: object, kind: str):
    with pytest.raises(AnnotationError) as caught:
        getattr(_row(value), call)("field")
    assert caught.value.kind == kind and kind in PROBLEMS
