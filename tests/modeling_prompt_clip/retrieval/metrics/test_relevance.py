import numpy as np

from modeling_prompt_clip.retrieval.metrics.relevance import match_identities


def test_columns_point_at_the_items_of_the_querys_person():
    gallery_ids = np.array([7, 3, 7, 5, 3, 7])
    query_ids = np.array([5, 7, 4, 3])
    relevant = match_identities(query_ids, gallery_ids)
    assert relevant.counts.tolist() == [1, 3, 0, 2]
    rows = np.array([1, 0, 3])
    columns, padding = relevant.columns(rows)
    for row, places, padded in zip(rows, columns, padding, strict=True):
        found = sorted(relevant.gallery_order[places[~padded]].tolist())
        assert found == np.flatnonzero(gallery_ids == query_ids[row]).tolist()


def test_the_padding_points_inside_the_gallery():
    relevant = match_identities(np.array([1, 2]), np.array([1, 1, 1, 2]))
    columns, padding = relevant.columns(np.array([0, 1]))
    assert columns.shape == padding.shape == (2, 3)
    assert columns.max() < 4
    assert padding.tolist() == [[False] * 3, [False, True, True]]
