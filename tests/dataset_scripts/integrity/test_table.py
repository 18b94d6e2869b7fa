"""The report as people read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dataset_scripts.integrity.table import report_text

if TYPE_CHECKING:
    from tests.dataset_scripts.integrity.conftest import DataFolder

Make = Callable[..., "DataFolder"]

GOOD = """\
CUHK-PEDES (cuhk_pedes) in {path}

annotation  reid_raw.json: 15 rows
images      15 in imgs/, headers and file ends read; --decode reads them whole
person ids  1 to 8

split       persons  images  captions  published
train             4       7        16  the same
validation        2       4         8  the same
test              2       4         8  the same

Usable. Nothing wrong was found.
"""


def test_a_good_copy_takes_twelve_lines(data_folder: Make):
    data = data_folder("cuhk_pedes")
    assert report_text(data.check()) == GOOD.format(path=data.path)


def test_problems_are_counted_shown_and_have_a_remedy(data_folder: Make):
    data = data_folder("cuhk_pedes")
    for row in range(4):
        data.image(row).unlink()
    data.rows[8]["captions"] = ["A man in red."] * 2
    data.write()
    text = report_text(data.check(decode=True))
    assert "15 in imgs/, read whole\n" in text
    assert text.endswith(
        """
error: image missing (missing_image), 4 cases
  row 0: cam_a/p1_s0.jpg
  row 1: cam_b/p1_s1.jpg
  row 2: CUHK01/p2_s2.jpg
  ...
  -> Restore it from the original archive, or remove its rows.

warning: caption given twice to one image (caption_twice), 1 case
  row 8: cam_b/p5_s8.jpg: A man in red.
  -> It counts twice, in training and as a query: remove one.

Not usable as it is: 1 kind of error, and 1 kind of warning. --on_bad_image skip trains on the other 11 images.
"""
    )


def test_rows_that_share_two_captions_are_shown_once(data_folder: Make):
    data = data_folder("custom")
    data.rows[2]["captions"] = data.rows[0]["captions"]
    data.write()
    text = report_text(data.check())
    assert "(repeated_caption), 2 cases\n  row 2: the caption of person 0 in row 0, here of 1\n  ...\n" in text


def test_skipping_is_advised_where_it_helps_only(data_folder: Make):
    data = data_folder("custom")
    data.image(3).unlink()
    data.rows[4]["person_id"] = -1
    data.write()
    assert report_text(data.check()).endswith("\nNot usable as it is: 2 kinds of error.\n")


def test_warnings_do_not_pass_under_strict(data_folder: Make):
    data = data_folder("custom")
    data.rows[3]["captions"] = ["a red hat " * 30]
    data.write()
    report = data.check(annotation_only=True)
    assert "(long_caption), at least 1 case\n  row 3: at least 92 tokens: a red hat a red" in report_text(report)
    assert "16, not looked at\n" in report_text(report)
    assert report_text(report).endswith("\nUsable, with 1 kind of warning.\n")
    assert report_text(report, strict=True).endswith("\nUsable, with 1 kind of warning. Not passed, under --strict.\n")


def test_other_counts_stand_beside_the_published_ones(data_folder: Make):
    data = data_folder("cuhk_pedes")
    data.rows[0]["captions"].pop()
    data.write()
    assert "\ntrain             4       7        15  4 / 7 / 16\n" in report_text(data.check())


def test_a_total_has_its_own_line(data_folder: Make):
    text = report_text(data_folder("ufine6926").check())
    assert "\ntrain           4       8        16  -\n" in text
    assert "\ntogether        7      14        28  6,926 / 26,206 / 52,412\n" in text


def test_splits_that_loading_draws_are_told(data_folder: Make):
    text = report_text(data_folder("custom_names").check())
    assert "\nsplits      none; loading draws about 10% of the persons for validation, 10% for test\n" in text


def test_rows_of_several_files_name_theirs(data_folder: Make):
    data = data_folder("mals")
    data.image(0).unlink()
    text = report_text(data.check())
    assert "\nannotation  gene_attrs/g_4x_attrs.json, gene_attrs/g_c_g_a_0_attrs.json: 10 rows\n" in text
    assert "\n  gene_attrs/g_4x_attrs.json row 0: gene_crop/4x/0.jpg\n" in text


def test_a_terminal_gets_no_commands(data_folder: Make):
    data = data_folder("custom")
    data.rows[3]["split"] = "\x1b[2J\u202e\x07"
    data.write()
    data.annotation.rename(data.path / "a\x1b]0;b.jsonl")
    text = report_text(data.check())
    assert all(sign.isprintable() or sign == "\n" for sign in text)
    assert "a\\x1b]0;b.jsonl: 16 rows" in text and "\\x1b[2J\\u202e\\x07" in text


def test_a_long_value_is_cut(data_folder: Make):
    data = data_folder("custom")
    data.rows[3]["image"] = "x" * 5000
    data.write()
    assert max(map(len, report_text(data.check()).split("\n"))) < 450


def test_many_annotation_files_are_counted(data_folder: Make):
    data = data_folder("mals")
    for number in range(9):
        (data.path / f"gene_attrs/g_{number}_attrs.json").write_bytes(data.annotation.read_bytes())
    assert "and 7 more: 55 rows\n" in report_text(data.check())
