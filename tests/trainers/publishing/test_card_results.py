"""Rows of results.json as a card shows them."""

from trainers.publishing.card_results import METRICS, figure, not_measured, protocol, results_table

COUNTS = {"queries": 1200, "gallery": 600, "unanswerable_queries": 0}
ROW = {
    "stage": "two",
    "method": "two-stage",
    "split": "test",
    "direction": "text_to_image",
    "metrics": dict.fromkeys(METRICS, 12.345) | COUNTS,
}
INTERVALS = {"intervals": {name: [10.0, 14.567] for name in METRICS}}


def test_figures_and_their_intervals():
    assert figure(ROW | {"metrics": {"mAP": 12.346}}, "mAP") == "12.35"
    assert figure(ROW | INTERVALS, "mAP").endswith(" (10.00 to 14.57)")
    table = results_table([ROW | INTERVALS, ROW | {"split": "validation", "direction": "image_to_text"}])
    assert table.columns == ("method", "split", "direction", *METRICS) and table.labels == 3
    assert [row[:3] for row in table.rows] == [
        ("two-stage", "test", "text to image"),
        ("two-stage", "validation", "image to text"),
    ]
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert table.lead == "In percent. Test: 1,200 captions; 600 images."


def test_queries_that_nobody_can_answer_are_counted():
    lacking = ROW | {"metrics": ROW["metrics"] | {"unanswerable_queries": 3}}
    assert "1,200 captions, and 3 left out, whose person is on no image; 600 images" in results_table([lacking]).lead


def test_the_protocol_says_what_was_done_and_no_more():
    assert protocol([]) == "Weights were selected by nothing: the last weights of each stage were kept."
    tested = protocol([ROW])
    assert "every caption" in tested.lower() and "evaluated once" in tested and "nothing: the last weights" in tested
    assert "every image queries" not in tested and "intervals" not in tested
    more = protocol([ROW | INTERVALS, ROW | {"split": "validation", "direction": "image_to_text"}])
    assert "every image queries" in more and "95 % intervals over persons" in more and "R@1 on the validation" in more
    base = protocol([ROW | {"split": "validation", "stage": "base"}])  # zero-shot: nothing to select
    assert "nothing: the last weights" in base and "evaluated once" not in base


def test_what_was_not_measured(make_args):
    assert not_measured(make_args(seed=3), [ROW]).startswith("Not measured: other seeds than 3")
    assert "the test split, " in not_measured(make_args(), [ROW | {"split": "validation"}])
