import numpy as np

from modeling_prompt_clip.retrieval import QueryValues
from trainers.commands.evaluation_pages import chosen_queries


def with_precisions(precisions, rows):
    values = np.zeros((len(precisions), 5))
    values[:, 3] = precisions
    return QueryValues(values, np.zeros(len(rows)), np.array(rows), len(rows), 10)


def test_best_median_and_worst_by_average_precision():
    # precision of query 0, 2, 4, ...: 5, 4, 3, 2, 1, 0 tenths, but in another order
    values = with_precisions([0.1, 0.5, 0.3, 0.0, 0.4, 0.2], [0, 2, 4, 6, 8, 10])
    chosen = chosen_queries(values, np.arange(11), list("abcdefghijk"), 2)
    assert chosen == {"best": [2, 8], "median": [4, 10], "worst": [6, 0]}


def test_a_small_split_is_shown_whole():
    values = with_precisions([0.1, 0.9], [0, 1])
    assert chosen_queries(values, np.arange(2), ["a", "b"], 8) == {"best": [1, 0], "median": [1, 0], "worst": [0, 1]}


def test_each_page_shows_different_persons_and_sentences():
    values = with_precisions([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], range(6))
    persons, captions = np.array([1, 1, 2, 3, 4, 5]), ["a", "b", "c", "d", "d", "e"]
    chosen = chosen_queries(values, persons, captions, 4)
    assert chosen == {"best": [0, 2, 3, 5], "median": [1, 2, 3, 5], "worst": [5, 4, 2, 1]}
