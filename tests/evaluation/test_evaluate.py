from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise

import hypothesis.extra.numpy as arrays
import ir_measures
import numpy as np
import oracles_evaluation as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from spdq.errors import DataError, UsageError
from spdq.evaluation import chance, evaluate_labels, evaluate_ranking, parse_protocol

ROWS = ["map@R", "map@R/skip", "map@all", "map@R/first-hits", "precision@n", "recall@n", "ndcg@n", "dcg@n"]
NAMES = [row.replace("@R", "@3").replace("@n", "@3") for row in ROWS]


def spread(figure):
    return figure.value, figure.lowest, figure.highest


@settings(max_examples=60, deadline=None)
@given(data=st.data(), queries=st.integers(1, 3), items=st.integers(1, 6), cut=st.integers(1, 7))
def test_every_figure_against_enumeration_of_all_orders(data, queries, items, cut):
    shape = queries, items
    distances = data.draw(arrays.arrays(np.float32, shape, elements=st.sampled_from([0.0, 0.5, 2.0, np.inf])))
    gains = data.draw(arrays.arrays(np.int64, shape, elements=st.integers(0, 2)))
    names = [row.replace("@R", f"@{cut}").replace("@n", f"@{cut}") for row in ROWS]
    for name, found in zip(names, evaluate_ranking(distances, gains, names), strict=True):
        expected = oracle.figure(parse_protocol(name).row, cut, distances, gains)
        assert spread(found) == pytest.approx(expected, abs=1e-9, nan_ok=True), name
        assert found.protocol == name
        assert found.queries == queries
        assert found.empty == (gains.sum(axis=1) == 0).sum()


def test_skipped_queries_of_each_protocol():
    # No relevant item; the only hit surely behind the cut; the only hit inside it in half of the orders.
    distances = np.float32([[0, 1, 2], [0, 1, 2], [0, 1, 1]])
    relevant = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 1]], bool)
    names = ["map@2", "map@2/skip", "map@all", "map@2/first-hits", "recall@2", "precision@2", "ndcg@2"]
    found = evaluate_ranking(distances, relevant, names)
    assert [f.skipped for f in found] == [0, 2.5, 0, 1, 0, 0, 0]
    assert all(f.empty == 1 for f in found)
    assert spread(found[1]) == pytest.approx((0.5, 0.5, 0.5))


def test_sparse_relevance_is_judged_alike():
    rng = np.random.default_rng(5)
    distances, gains = (
        rng.integers(0, 4, (20, 30)),
        rng.integers(0, 3, (20, 30)) * (rng.random((20, 30)) < 0.2),
    )
    assert evaluate_ranking(distances, sparse.csr_matrix(gains), NAMES, block=7) == evaluate_ranking(
        distances, gains, NAMES
    )
    with pytest.raises(DataError, match="expected gains >= 0"):
        evaluate_ranking(distances, sparse.csr_matrix(-gains), "ndcg@1")


@pytest.fixture(scope="module")
def without_ties():
    rng = np.random.default_rng(3)
    distances = np.argsort(rng.random((25, 120)), axis=1).astype(np.float32)
    gains = rng.integers(0, 4, (25, 120)) * (rng.random((25, 120)) < 0.2)
    gains[4] = 0
    run = [
        ir_measures.ScoredDoc(f"q{q}", f"d{d}", -float(distances[q, d]))
        for q in range(25)
        for d in range(120)
    ]
    qrels = [ir_measures.Qrel(f"q{q}", f"d{d}", int(gains[q, d])) for q in range(25) for d in range(120)]
    return distances, gains, qrels, run


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("map@all", "AP"),
        ("map@120", "AP"),
        ("map@120/first-hits", "AP"),
        ("pr-curve", "AP"),
        ("precision@1", "P@1"),
        ("precision@50", "P@50"),
        ("recall@5", "R@5"),
        ("recall@120", "R@120"),
        ("ndcg@1", "nDCG@1"),
        ("ndcg@10", "nDCG@10"),
        ("ndcg@120", "nDCG@120"),
    ],
)
def test_agrees_with_ir_measures_where_nothing_is_tied(without_ties, name, measure):
    distances, gains, qrels, run = without_ties
    figure = evaluate_ranking(distances, gains, name)[0]
    per_query = {
        m.query_id: m.value for m in ir_measures.iter_calc([ir_measures.parse_measure(measure)], qrels, run)
    }
    assert len(per_query) == 25
    counted = per_query.values() if not figure.skipped else [v for q, v in per_query.items() if q != "q4"]
    assert spread(figure) == pytest.approx((sum(counted) / len(counted),) * 3, abs=1e-12)


def test_labels_are_relevance_by_a_shared_label():
    rng = np.random.default_rng(4)
    query_labels, database_labels = rng.integers(0, 2, (20, 5), np.uint8), rng.random((60, 5)) < 0.2
    query_labels[3] = 0
    database_labels[:5] = False
    distances = rng.integers(0, 9, (20, 60)).astype(np.float32)
    shared = np.array([[any(q & d) for d in database_labels] for q in query_labels.astype(bool)])
    steps = []
    found = evaluate_labels(
        lambda rows: distances[rows],
        query_labels,
        database_labels,
        [*NAMES, "pr-curve"],
        block=7,
        progress=lambda *step: steps.append(step),
    )
    assert found == evaluate_ranking(distances, shared, [*NAMES, "pr-curve"])
    assert found[0].empty == (~shared.any(axis=1)).sum() >= 1
    assert steps == [(7, 20), (14, 20), (20, 20)]


def test_pr_curve():
    rng = np.random.default_rng(5)
    distances, relevant = rng.integers(0, 9, (8, 30)), rng.random((8, 30)) < 0.3
    curve, area = evaluate_ranking(distances, relevant, ["pr-curve", "map@all"])
    assert spread(curve) == spread(area)
    assert (curve.points[0].rank, curve.points[-1].rank) == (1, 30)
    for point in curve.points:
        recall, precision = evaluate_ranking(
            distances, relevant, [f"recall@{point.rank}", f"precision@{point.rank}"]
        )
        assert point.recall == pytest.approx(spread(recall))
        assert point.precision == pytest.approx(spread(precision))
    assert area.points == ()


def test_chance_is_the_mean_over_random_rankings():
    rng = np.random.default_rng(6)
    query_labels, database_labels = rng.random((40, 3)) < 0.4, rng.random((50, 3)) < 0.3
    names = [*NAMES, "precision@50"]
    found = chance(names, query_labels, database_labels)
    draws = np.array(
        [
            [f.value for f in evaluate_labels(rng.random((40, 50)), query_labels, database_labels, names)]
            for _ in range(60)
        ]
    )
    np.testing.assert_allclose(
        [f.value for f in found], draws.mean(axis=0), atol=4 * draws.std(axis=0).max() / 60**0.5
    )
    relevant = (query_labels[:, None] & database_labels).any(axis=2)
    assert found[NAMES.index("precision@3")].value == pytest.approx(relevant.mean())


def test_one_ranking_of_hamming_codes_has_many_maps():
    """Finding: the same codes judged by different definitions differ by far more than methods do."""
    rng = np.random.default_rng(0)
    centres = rng.random((24, 16)) < 0.5
    labels = np.eye(24, dtype=np.uint8)[rng.integers(0, 24, 10_200)] | (rng.random((10_200, 24)) < 0.02)
    noise = rng.random((10_200, 16)) < 0.28
    codes = (labels @ centres.astype(int) * 2 > labels.sum(axis=1, keepdims=True)) ^ noise
    labels[:16] = 0
    distances = (codes[:200, None] != codes[None, 200:]).sum(axis=2).astype(np.float32)
    relevant = (labels[:200].astype(np.float32) @ labels[200:].T) > 0
    names = ["map@all", "map@50/first-hits", "map@50", "map@50/skip"]
    found = evaluate_labels(distances, labels[:200], labels[200:], names)

    values = [f.value for f in found]
    assert all(abs(a - b) > 0.02 for a, b in pairwise(sorted(values))), values
    assert all(f.highest - f.lowest > 0.05 for f in found)
    assert [f.empty for f in found] == [16] * 4
    for order in (relevant, ~relevant, rng.random(relevant.shape)):  # three ways to break ties
        ranked = np.take_along_axis(relevant, np.lexsort((order, distances)), axis=1)
        for figure in found:
            protocol = parse_protocol(figure.protocol)
            scores = [oracle_score(protocol.row, protocol.cut, row) for row in ranked]
            counted = [s for s in scores if s is not None]
            assert figure.lowest - 1e-9 <= sum(counted) / len(counted) <= figure.highest + 1e-9


def oracle_score(row, cut, ranked):
    """As the enumerating oracle's, in NumPy, for long rankings."""
    precision = (np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked]
    if row == "map@all":
        return precision.mean() if len(precision) else 0.0
    taken = precision[:cut] if row == "map@R/first-hits" else precision[: ranked[:cut].sum()]
    if len(taken) == 0:
        return 0.0 if row == "map@R" else None
    return taken.mean()


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.uint16, bool])
def test_any_real_dtype(dtype):
    rng = np.random.default_rng(7)
    distances, relevant = rng.integers(0, 2, (5, 20)), rng.random((5, 20)) < 0.4
    expected = evaluate_ranking(distances.astype(np.float32), relevant, NAMES)
    assert evaluate_ranking(distances.astype(dtype), relevant.astype(np.uint8), NAMES) == expected


def test_no_queries():
    for figure in evaluate_ranking(np.zeros((0, 4)), np.zeros((0, 4), bool), [*NAMES, "pr-curve"]):
        assert math.isnan(figure.value)
        assert (figure.queries, figure.skipped, figure.empty, figure.points) == (0, 0, 0, ())


def test_empty_database():
    for figure in evaluate_ranking(np.zeros((2, 0)), np.zeros((2, 0), bool), [*NAMES, "pr-curve"]):
        if figure.skipped:
            assert math.isnan(figure.value)
        else:
            assert spread(figure) == (0, 0, 0)
        assert (figure.queries, figure.empty, figure.points) == (2, 2, ())


def test_one_item():
    found = evaluate_ranking(np.zeros((1, 1)), np.ones((1, 1), bool), NAMES)
    dcg = (1 / 7) / (1 + 1 / math.log2(3) + 1 / 2)
    assert [f.value for f in found] == [1, 1, 1, 1, pytest.approx(1 / 3), 1, 1, pytest.approx(dcg)]


def test_no_label_columns():
    figure = evaluate_labels(np.zeros((2, 3)), np.zeros((2, 0), bool), np.zeros((3, 0), bool), "map@all")[0]
    assert (figure.value, figure.empty) == (0, 2)


def test_all_tied_and_all_relevant():
    for figure in evaluate_ranking(np.zeros((3, 5)), np.ones((3, 5), bool), NAMES):
        if figure.protocol != "recall@3":
            highest = 1 / 7 if figure.protocol == "dcg@3" else 1
            assert spread(figure) == pytest.approx((highest,) * 3)


def test_unknown_protocol_and_instance_recall():
    with pytest.raises(UsageError, match="unknown protocol 'map'"):
        evaluate_ranking(np.zeros((1, 1)), np.ones((1, 1)), ["map"])
    with pytest.raises(UsageError, match=r"instance-recall@1 needs .* use evaluate_instances"):
        evaluate_ranking(np.zeros((1, 1)), np.ones((1, 1)), ["instance-recall@1"])


def test_block_below_one():
    with pytest.raises(UsageError, match="block: expected at least 1 query, got 0"):
        evaluate_ranking(np.zeros((1, 1)), np.ones((1, 1)), "map@all", block=0)


@pytest.mark.parametrize("as_function", [False, True])
def test_nan_distance(as_function):
    distances = np.zeros((5, 3), np.float32)
    distances[3, 1] = np.nan
    given_as = distances.__getitem__ if as_function else distances
    with pytest.raises(DataError, match="distances of query 3: found NaN"):
        evaluate_ranking(given_as, np.ones((5, 3), bool), "map@all", block=2)


def test_distances_of_another_shape():
    relevant = np.ones((5, 3), bool)
    with pytest.raises(DataError, match=r"a row for each of 5 queries, got shape \(4, 3\)"):
        evaluate_ranking(np.zeros((4, 3)), relevant, "map@all")
    with pytest.raises(DataError, match=r"queries 0 to 4: expected \(5, 3\), got \(5, 4\)"):
        evaluate_ranking(np.zeros((5, 4)), relevant, "map@all")
    with pytest.raises(DataError, match=r"queries 2 to 3: expected \(2, 3\), got \(1, 3\)"):
        evaluate_ranking(lambda rows: np.zeros((1 if rows.start else 2, 3)), relevant, "map@all", block=2)
    with pytest.raises(DataError, match=r"distances: expected a 2-d array of numbers, got shape \(5,\)"):
        evaluate_ranking(np.zeros(5), relevant, "map@all")
    with pytest.raises(DataError, match=r"distances: expected a 2-d array .* of complex128"):
        evaluate_ranking(np.zeros((5, 3), complex), relevant, "map@all")


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_bad_gains(bad):
    with pytest.raises(DataError, match="relevant: expected gains >= 0"):
        evaluate_ranking(np.zeros((1, 2)), np.array([[1.0, bad]]), "ndcg@1")
    with pytest.raises(DataError, match="relevant: expected a 2-d array"):
        evaluate_ranking(np.zeros((1, 2)), np.array([1.0]), "ndcg@1")


def test_bad_labels():
    distances, good = np.zeros((2, 3)), np.ones((3, 2), np.uint8)
    with pytest.raises(DataError, match=r"one label set .* got 4 and 2 columns"):
        evaluate_labels(distances, np.ones((2, 4), bool), good, "map@all")
    with pytest.raises(DataError, match=r"query_labels: expected multi-hot .* float64"):
        evaluate_labels(distances, np.ones((2, 2)), good, "map@all")
    with pytest.raises(DataError, match=r"database_labels: expected multi-hot .* negative"):
        evaluate_labels(distances, np.ones((2, 2), bool), good.astype(np.int8) * -1, "map@all")
    with pytest.raises(DataError, match=r"query_labels: expected a 2-d array of numbers, got shape \(2,\)"):
        evaluate_labels(distances, np.ones(2, bool), good, "map@all")


def test_import_is_light():
    code = "import sys, spdq.evaluation; print({'torch', 'sklearn', 'h5py'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.stdout == "set()\n", done.stderr
