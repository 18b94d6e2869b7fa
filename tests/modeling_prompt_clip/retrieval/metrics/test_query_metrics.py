import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from modeling_prompt_clip.retrieval import query_values, retrieval_metrics

PERCENTAGES = ["R@1", "R@5", "R@10", "mAP", "mINP"]


def naive_metrics(queries, gallery, query_ids, gallery_ids, ties):
    """Sorts the whole gallery for every query, in float64, and walks down the list."""
    values = []
    for query, person_id in zip(queries, query_ids, strict=True):
        scores = gallery.astype(np.float64) @ query.astype(np.float64)
        relevant = gallery_ids == person_id
        last = relevant if ties == "pessimistic" else ~relevant
        ranked = [bool(relevant[item]) for item in sorted(range(len(gallery)), key=lambda i: (-scores[i], last[i]))]
        if not any(ranked):
            continue
        found, precisions, last_rank = 0, [], 0
        for rank, right in enumerate(ranked, start=1):
            if right:
                found, last_rank = found + 1, rank
                precisions.append(found / rank)
        values.append([any(ranked[:1]), any(ranked[:5]), any(ranked[:10]), np.mean(precisions), found / last_rank])
    return dict(zip(PERCENTAGES, 100 * np.mean(values, axis=0), strict=True)) if values else None


def one_dimensional(scores, ids, **options):
    """Metrics of one query of person 1 that gives the gallery these scores."""
    return retrieval_metrics(torch.ones(1, 1), torch.tensor(scores)[:, None], [1], ids, **options).to_dict()


@st.composite
def splits_with_ties(draw):
    queries, gallery, dim = (draw(st.integers(1, most)) for most in (7, 12, 3))
    whole = st.integers(-2, 2)
    people = st.integers(0, 3)
    return (
        draw(arrays.arrays(np.float32, (queries, dim), elements=whole)),
        draw(arrays.arrays(np.float32, (gallery, dim), elements=whole)),
        draw(arrays.arrays(np.int64, queries, elements=people)),
        draw(arrays.arrays(np.int64, gallery, elements=people)),
    )


@settings(deadline=None, max_examples=200)
@given(split=splits_with_ties(), ties=st.sampled_from(["pessimistic", "optimistic"]), block_size=st.integers(1, 4))
def test_equals_a_naive_sort_whatever_ties_there_are(split, ties, block_size):
    expected = naive_metrics(*split, ties)
    if expected is None:
        with pytest.raises(ValueError, match="none of the"):
            retrieval_metrics(*split, ties=ties, block_size=block_size)
        return
    got = retrieval_metrics(*split, ties=ties, block_size=block_size).to_dict()
    assert {name: got[name] for name in PERCENTAGES} == pytest.approx(expected, abs=1e-10)
    assert got["unanswerable_queries"] == int((~np.isin(split[2], split[3])).sum())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_a_naive_sort_on_real_numbers(dtype):
    random = np.random.default_rng(0)
    split = (
        random.normal(size=(40, 16)).astype(dtype),
        random.normal(size=(90, 16)).astype(dtype),
        random.integers(0, 20, 40),
        random.integers(0, 20, 90),
    )
    got = retrieval_metrics(*split).to_dict()
    assert {name: got[name] for name in PERCENTAGES} == pytest.approx(naive_metrics(*split, "pessimistic"), abs=1e-10)


def test_a_perfect_ranking_is_100_percent():
    ids = torch.arange(12)
    metrics = retrieval_metrics(torch.eye(12), torch.eye(12).repeat(2, 1), ids, ids.repeat(2)).to_dict()
    assert metrics == dict.fromkeys(PERCENTAGES, 100.0) | {"queries": 12, "gallery": 24, "unanswerable_queries": 0}


def test_the_worst_ranking_puts_the_relevant_items_last():
    metrics = one_dimensional([1.0] * 18 + [-1.0] * 2, [0] * 18 + [1] * 2)
    assert (metrics["R@1"], metrics["R@10"]) == (0, 0)
    assert metrics["mAP"] == pytest.approx(100 * (1 / 19 + 2 / 20) / 2)
    assert metrics["mINP"] == pytest.approx(100 * 2 / 20)


@pytest.mark.parametrize("rank", [1, 2, 5, 6, 10, 11, 30])
def test_one_relevant_item_at_a_known_rank(rank):
    scores = np.linspace(1, 0, 30, dtype=np.float32)
    metrics = one_dimensional(scores, [1 if place == rank else 0 for place in range(1, 31)])
    assert [metrics[f"R@{k}"] for k in (1, 5, 10)] == [100.0 * (rank <= k) for k in (1, 5, 10)]
    assert metrics["mAP"] == metrics["mINP"] == pytest.approx(100 / rank)


def test_ties_go_against_the_relevant_item_unless_optimistic():
    scores, ids = [0.5] * 4, [0, 1, 0, 0]
    assert one_dimensional(scores, ids)["mAP"] == pytest.approx(100 / 4)
    assert one_dimensional(scores, ids, ties="optimistic")["mAP"] == 100


@pytest.mark.parametrize("queries", [1, 7])
def test_a_collapsed_model_gets_no_credit(queries):
    # All scores of a query are equal; a plain float32 product of these would scatter them by the last bit.
    torch.manual_seed(0)
    embed = torch.nn.functional.normalize(torch.randn(1, 512), dim=1)
    other = torch.nn.functional.normalize(torch.randn(queries, 512), dim=1)
    gallery_ids = torch.arange(1001) % 500
    metrics = retrieval_metrics(other, embed.repeat(1001, 1), torch.arange(1, queries + 1), gallery_ids).to_dict()
    assert metrics["R@10"] == 0
    assert metrics["mINP"] == pytest.approx(100 * 2 / 1001)


def test_neither_the_block_size_nor_the_order_of_the_gallery_matters():
    torch.manual_seed(0)
    queries, gallery = torch.randn(100, 64), torch.randn(333, 64).repeat(2, 1)
    query_ids, gallery_ids = torch.randint(50, (100,)), torch.randint(50, (666,))
    expected = retrieval_metrics(queries, gallery, query_ids, gallery_ids)
    shuffled = torch.randperm(666)
    assert retrieval_metrics(queries, gallery[shuffled], query_ids, gallery_ids[shuffled]) == expected
    assert retrieval_metrics(queries, gallery, query_ids, gallery_ids, block_size=7) == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_type_is_taken(dtype):
    embeds = torch.eye(6).to(dtype).requires_grad_()
    assert retrieval_metrics(embeds, embeds, torch.arange(6), torch.arange(6, dtype=torch.int32)).rank_1 == 100


@pytest.mark.filterwarnings("error")
def test_numpy_and_torch_agree_and_inputs_stay_as_they_were():
    random = np.random.default_rng(1)
    queries, gallery = random.normal(size=(9, 4)), random.normal(size=(14, 4))
    queries.flags.writeable = False
    ids = random.integers(0, 4, 9), random.integers(0, 4, 14)
    before = gallery.copy()
    from_numpy = retrieval_metrics(queries, gallery, *ids)
    assert from_numpy == retrieval_metrics(torch.tensor(queries), torch.tensor(gallery), *map(torch.tensor, ids))
    assert np.array_equal(gallery, before)


def test_an_unanswerable_query_is_counted_and_left_out():
    with_stranger = retrieval_metrics(torch.eye(3), torch.eye(3)[:2], [0, 1, 9], [0, 1])
    assert with_stranger.to_dict() == dict.fromkeys(PERCENTAGES, 100.0) | {
        "queries": 3,
        "gallery": 2,
        "unanswerable_queries": 1,
    }


EYE = torch.eye(3)
IDS = [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((EYE[0], EYE, IDS, IDS), {}, ValueError, r"query_embeds has shape \(3,\)"),
        ((EYE, EYE[:0], IDS, []), {}, ValueError, r"gallery_embeds has shape \(0, 3\)"),
        ((EYE, torch.eye(4), IDS, [0, 1, 2, 3]), {}, ValueError, "3 columns and gallery_embeds 4"),
        ((EYE, EYE, [0, 1], IDS), {}, ValueError, r"query_person_ids has shape \(2,\)"),
        ((EYE, EYE, IDS, [IDS]), {}, ValueError, r"gallery_person_ids has shape \(1, 3\)"),
        ((EYE, EYE, IDS, [0.0, 1.0, 2.0]), {}, TypeError, "gallery_person_ids is float64"),
        ((EYE, EYE, ["0", "1", "2"], IDS), {}, TypeError, "query_person_ids is <U1"),
        ((EYE.long(), EYE, IDS, IDS), {}, TypeError, "query_embeds is torch.int64"),
        (([[1.0]], EYE, IDS, IDS), {}, TypeError, "query_embeds is list"),
        ((EYE, EYE, IDS, [5, 6, 7]), {}, ValueError, "none of the 3 person ids"),
        ((EYE, EYE, IDS, IDS), {"ties": "lucky"}, ValueError, "ties='lucky'"),
        ((EYE, EYE, IDS, IDS), {"block_size": 0}, ValueError, "block_size=0"),
    ],
)
def test_wrong_input_is_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        retrieval_metrics(*arguments, **options)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_not_finite_are_named_with_their_row(value):
    broken = EYE.clone()
    broken[1, 2] = value
    with pytest.raises(ValueError, match="gallery_embeds holds NaN or infinity in 1 of 3 rows, first in row 1"):
        retrieval_metrics(EYE, broken, IDS, IDS)


def test_on_a_gpu_it_is_the_same():
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    torch.manual_seed(0)
    queries, gallery = torch.randn(50, 32), torch.randn(80, 32)
    ids = torch.randint(20, (50,)), torch.randint(20, (80,))
    assert retrieval_metrics(queries.cuda(), gallery.cuda(), *ids) == retrieval_metrics(queries, gallery, *ids)


def naive_expected(scores, relevant):
    """Mean of the five values over all orders of a few items, those that keep the scores in descending order."""
    orders = [
        order
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    values = []
    for order in orders:
        ranks = [place for place, item in enumerate(order, start=1) if relevant[item]]
        precisions = [found / rank for found, rank in enumerate(ranks, start=1)]
        values.append([*(ranks[0] <= k for k in (1, 5, 10)), np.mean(precisions), len(ranks) / ranks[-1]])
    return dict(zip(PERCENTAGES, 100 * np.mean(values, axis=0), strict=True))


@settings(deadline=None, max_examples=60)
@given(items=st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=7))
def test_expected_ties_are_the_mean_over_all_orders(items):
    scores, relevant = zip(*items, strict=True)
    if not any(relevant):
        return
    got = one_dimensional([float(score) for score in scores], [int(right) for right in relevant], ties="expected")
    assert {name: got[name] for name in PERCENTAGES} == pytest.approx(naive_expected(scores, relevant), abs=1e-9)


def test_expected_ties_lie_between_the_extremes_and_change_nothing_without_ties():
    random = np.random.default_rng(1)
    split = (
        random.integers(-2, 3, (30, 3)).astype(np.float32),
        random.integers(-2, 3, (60, 3)).astype(np.float32),
        random.integers(0, 9, 30),
        random.integers(0, 9, 60),
    )
    worst, mean, best = (
        retrieval_metrics(*split, ties=ties).to_dict() for ties in ("pessimistic", "expected", "optimistic")
    )
    assert all(worst[name] < mean[name] < best[name] for name in PERCENTAGES)
    split = (random.normal(size=(30, 3)), random.normal(size=(60, 3)), *split[2:])
    assert retrieval_metrics(*split, ties="expected") == retrieval_metrics(*split)


@pytest.mark.parametrize("ties", ["pessimistic", "optimistic", "expected"])
def test_ranks_may_be_any_and_change_nothing_else(ties):
    random = np.random.default_rng(4)
    split = (
        random.integers(-2, 3, (30, 3)).astype(np.float32),
        random.integers(-2, 3, (40, 3)).astype(np.float32),
        random.integers(0, 9, 30),
        random.integers(0, 9, 40),
    )
    plain = retrieval_metrics(*split, ties=ties)
    metrics = retrieval_metrics(*split, ks=[20, 1, 3, 50], ties=ties)
    assert list(metrics.recalls) == [1, 3, 20, 50] and metrics.recalls[50] == 100
    assert metrics.recalls[1] == plain.rank_1 < metrics.recalls[3] < plain.rank_5 < plain.rank_10 < metrics.recalls[20]
    assert {name: value for name, value in metrics.to_dict().items() if "R@" not in name}.items() <= (
        plain.to_dict().items()
    )
    curve = [retrieval_metrics(*split, ks=(k,), ties=ties).recalls[k] for k in range(1, 11)]
    assert curve == sorted(curve) and curve[4] == plain.rank_5 and curve[9] == plain.rank_10


def test_query_values_say_which_query_each_row_is():
    values = query_values(torch.eye(3), torch.eye(3)[[0, 2]], [7, 8, 9], [7, 9])
    assert values.rows.tolist() == [0, 2] and values.person_ids.tolist() == [7, 9]
    assert values.mean() == retrieval_metrics(torch.eye(3), torch.eye(3)[[0, 2]], [7, 8, 9], [7, 9])
