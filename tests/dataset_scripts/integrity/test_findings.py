"""Counting problems and keeping their first cases."""

from collections.abc import Iterator

import pytest

from dataset_scripts.integrity.findings import Example, Findings


def test_the_first_cases_are_kept_and_no_more_are_made():
    findings, made = Findings(), []

    def examples(count: int) -> Iterator[Example]:
        for number in range(count):
            made.append(number)
            yield Example(f"case {len(made)}")

    findings.add_all("missing_image", 3, examples(3))
    findings.add_all("missing_image", 1000, examples(1000))
    findings.add("missing_image", "another", "rows.json", 7)
    assert findings.counts == {"missing_image": 1004} and len(made) == 5
    assert [example.text for example in findings.examples["missing_image"]] == [f"case {n}" for n in range(1, 6)]


def test_no_case_is_no_problem():
    findings = Findings()
    findings.add_all("missing_image", 0, iter(()))
    assert not findings.counts and not findings.examples


def test_kinds_are_in_the_order_of_the_table_by_severity():
    findings = Findings()
    for kind in ("missing_image", "odd_mode", "not_json", "long_caption"):
        findings.add(kind, "text")
    assert findings.kinds("error") == ["not_json", "missing_image"]
    assert findings.kinds("warning") == ["long_caption", "odd_mode"]


def test_a_kind_that_is_not_in_the_table_is_a_bug():
    with pytest.raises(KeyError, match="misspelt"):
        Findings().add("misspelt", "text")
