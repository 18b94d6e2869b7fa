import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_prompt_clip.retrieval import KReciprocal, query_values
from modeling_prompt_clip.retrieval.metrics.ranking import score_blocks


def units(seed, rows, dim=4):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(rows, dim)) + 0.5
    return torch.from_numpy(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def scores_of(method, queries, gallery, block_size=1024):
    rows = np.arange(len(queries))
    blocks = score_blocks(queries, gallery, rows, block_size, method(queries, gallery))
    return torch.cat([scores for _, scores in blocks]).numpy()


def naive_scores(queries, gallery, k1, k2, weight):
    """The paper's equations over sets and loops, one item after the other."""
    queries, gallery = queries.numpy(), gallery.numpy()

    def distance(left, right):
        return float(((left - right) ** 2).sum())

    def closest(item, others, count):
        return sorted(range(len(others)), key=lambda row: distance(item, others[row]))[:count]

    def sets(k):
        return [
            {other for other in closest(item, gallery, k + 1) if row in closest(gallery[other], gallery, k + 1)}
            for row, item in enumerate(gallery)
        ]

    def expanded(own):
        return own.union(*(halves[row] for row in own if len(halves[row] & own) >= 2 / 3 * len(halves[row])))

    def vector(item, members):
        weights = {row: np.exp(-distance(item, gallery[row])) for row in members}
        total = sum(weights.values()) or 1  # a caption may have no reciprocal neighbour
        return np.array([weights.get(row, 0) / total for row in range(len(gallery))])

    halves = sets(k1 // 2)
    vectors = [vector(item, expanded(own)) for item, own in zip(gallery, sets(k1), strict=True)]
    averaged = [np.mean([vectors[row] for row in closest(item, gallery, k2)], axis=0) for item in gallery]
    scores = np.empty((len(queries), len(gallery)))
    for query, item in enumerate(queries):
        near = closest(item, gallery, k1)
        own = {row for row in near if query in closest(gallery[row], queries, k1)}
        mine = np.mean([vector(item, expanded(own)), *(vectors[row] for row in near[: k2 - 1])], axis=0)
        for row, other in enumerate(averaged):
            jaccard = 1 - np.minimum(mine, other).sum() / np.maximum(mine, other).sum()
            scores[query, row] = -((1 - weight) * jaccard + weight * distance(item, gallery[row]))
    return scores


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), k1=st.integers(1, 9), weight=st.sampled_from([0.0, 0.3, 1.0]), data=st.data())
def test_equals_the_equations_in_loops(seed, k1, weight, data):
    k2 = data.draw(st.integers(1, k1))
    queries, gallery = units(seed, 6), units(seed + 1, 8)
    expected = naive_scores(queries, gallery, k1, k2, weight)
    found = scores_of(KReciprocal(k1, k2, weight), queries, gallery)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_equals_the_equations_on_a_larger_split():
    queries, gallery = units(1, 50), units(2, 40)
    expected = naive_scores(queries, gallery, 12, 4, 0.3)
    np.testing.assert_allclose(scores_of(KReciprocal(12, 4), queries, gallery), expected, atol=1e-12)


def test_weight_one_is_the_plain_ranking():
    queries, gallery = units(0, 60), units(1, 45)
    ids = np.arange(60) % 15, np.arange(45) % 15
    plain = query_values(queries, gallery, *ids)
    reranked = query_values(queries, gallery, *ids, rerank=KReciprocal(original_weight=1.0))
    assert np.array_equal(plain.values, reranked.values)
    assert not np.array_equal(plain.values, query_values(queries, gallery, *ids, rerank=KReciprocal()).values)


def test_separate_groups_by_hand():
    # Three groups of four equal images and a caption for each. A caption's vector has 1/3 at three images of its
    # group, an image's 1/4 at all four: their minima sum to 3/4, their maxima to 5/4.
    captions = torch.eye(3, dtype=torch.float64)
    scores = scores_of(KReciprocal(k1=3, k2=1, original_weight=0.0), captions, captions.repeat_interleave(4, dim=0))
    np.testing.assert_allclose(scores, np.repeat(np.eye(3), 4, axis=1) * 3 / 5 - 1, atol=1e-12)


def test_neighbours_pull_up_an_image_that_the_caption_misses():
    # Image 2 is farther from the caption than image 3, but has image 0 and 1 as its neighbours.
    angles = torch.tensor([0.10, 0.20, 0.42, -0.40, -1.2, -1.3], dtype=torch.float64)
    gallery = torch.stack([angles.cos(), angles.sin()], dim=1)
    caption = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    plain, ids = (caption @ gallery.T)[0], [1, 1, 1, 0, 0, 0]
    assert plain[3] > plain[2]
    assert query_values(caption, gallery, [1], ids).mean().mean_average_precision < 100
    method = KReciprocal(k1=2, k2=2)
    assert query_values(caption, gallery, [1], ids, rerank=method).mean().mean_average_precision == 100


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), block_size=st.integers(9, 400))
def test_neither_the_order_of_the_gallery_nor_the_block_size_matters(seed, block_size):
    queries, gallery = units(seed, 300).float(), units(seed + 1, 25).float()
    shuffled = torch.from_numpy(np.random.default_rng(seed).permutation(25))
    method = KReciprocal(6, 3)
    expected = scores_of(method, queries, gallery)
    assert np.array_equal(scores_of(method, queries, gallery, block_size), expected)
    np.testing.assert_allclose(scores_of(method, queries, gallery[shuffled]), expected[:, shuffled], atol=1e-6)


def test_persons_are_not_told():
    # Doubles: who is nearest among equals goes by rows, which must be those of the gallery as it was given.
    queries, gallery = units(0, 20).float(), units(1, 6).float().repeat(5, 1)
    method = KReciprocal(4, 2)
    ids = np.random.default_rng(0).permutation(30) % 10
    seen = []
    query_values(queries, gallery, np.arange(20) % 10, ids, rerank=lambda *sides: seen.append(sides) or method(*sides))
    assert torch.equal(seen[0][0], queries) and torch.equal(seen[0][1], gallery)


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_more_neighbours_than_there_are_items(rows):
    queries, gallery = units(0, 3), units(1, rows)
    expected = naive_scores(queries, gallery, 20, 6, 0.3)
    np.testing.assert_allclose(scores_of(KReciprocal(), queries, gallery), expected, atol=1e-12)


def test_doubles_score_the_same():
    # Thirty doubles have the first four as their neighbours, and these the first three of six captions.
    captions, doubles = units(1, 1).repeat(6, 1), units(1, 1).repeat(30, 1)
    scores = scores_of(KReciprocal(k1=3, k2=1, original_weight=0.0), captions, doubles)
    np.testing.assert_allclose(scores, np.repeat([[3 / 5 - 1], [-1]], 3, axis=0).repeat(30, axis=1))


def test_nothing_in_common_with_nothing_is_as_far_as_can_be():
    # Of vectors not quite of length 1, the first image is nearest to the second, and that to the two longest alone;
    # of two equal captions, the second is nobody's nearest.
    angles, lengths = torch.tensor([[0, 0.08, 0.16, 0.161], [0.991, 1, 1.009, 1.009]], dtype=torch.float64)
    gallery = lengths[:, None] * torch.stack([angles.cos(), angles.sin()], dim=1)
    scores = scores_of(KReciprocal(k1=1, k2=1, original_weight=0.0), units(0, 1, dim=2).repeat(2, 1), gallery)
    assert scores[1].tolist() == [-1, -1, -1, -1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k1": 0}, "k1=0 must be at least 1"),
        ({"k2": 0}, "k2=0 must be from 1 to k1, which is 20"),
        ({"k1": 3}, "k2=6 must be from 1 to k1, which is 3"),
        ({"original_weight": 1.5}, "original_weight=1.5"),
        ({"original_weight": float("nan")}, "original_weight=nan"),
    ],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        KReciprocal(**options)


def test_embeddings_that_are_not_unit_vectors_are_named():
    with pytest.raises(ValueError, match="gallery_embeds has length 2.000 in row 1"):
        query_values(torch.eye(2), torch.diag(torch.tensor([1.0, 2.0])), [0, 1], [0, 1], rerank=KReciprocal())
