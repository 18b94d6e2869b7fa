from modeling_prompt_clip.retrieval import RetrievalMetrics, metrics_table


def test_a_table_has_one_aligned_line_a_result():
    results = {
        "zero-shot": RetrievalMetrics({1: 1.234, 5: 10.0, 10: 20.0}, 3.456, 0.5, 2400, 1200, 0),
        "two stages": RetrievalMetrics({1: 100.0, 5: 100.0, 10: 100.0}, 99.996, 50.0, 2400, 1200, 7),
    }
    header, rule, *lines = metrics_table(results, header="method").splitlines()
    assert header.split() == ["method", "R@1", "R@5", "R@10", "mAP", "mINP", "queries", "gallery", "unanswerable"]
    assert set(rule) == {"-", " "}
    assert lines[0].split() == ["zero-shot", "1.23", "10.00", "20.00", "3.46", "0.50", "2,400", "1,200", "0"]
    assert lines[1].startswith("two stages  100.00")
    assert len({len(line) for line in (header, rule, *lines)}) == 1
