import math

import numpy as np
import pytest
from oracles_retrieval import drawn_p, enumerated_p, holm_by_rejections, query_differences
from scipy import stats

from spdq.errors import DataError
from spdq_benchmarks.retrieval.significance import (
    compare,
    holm,
    interval,
    paired_differences,
    sign_flip_p,
)


def normal(n, mean=0.0, seed=0):
    return np.random.default_rng(seed).normal(mean, 1, n)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 10])
@pytest.mark.parametrize("mean", [0.0, 0.7, -2.0])
def test_few_queries_are_flipped_in_every_way(n, mean):
    differences = normal(n, mean, seed=n)
    assert sign_flip_p(differences) == pytest.approx(enumerated_p(differences), abs=1e-12)


@pytest.mark.parametrize("differences", [
    [1, 1, 1, -1, 1], [0.5, 0.5, -0.5], [1, -1], [-1, -1, -1, -1], [2, 2, 1, 1, -1], [1, 0, 0, 2, 0, -3],
    [1e-9, 2e-9, -5e-10], [1e9, 3e9, 2e9], [0.1, 0.2, 0.3, -0.3, -0.2, -0.1],
])  # fmt: skip
def test_ties_zeros_and_scales(differences):
    expected = enumerated_p([value / max(map(abs, differences)) for value in differences])
    assert sign_flip_p(np.array(differences, float)) == pytest.approx(expected, abs=1e-12)


def test_queries_without_a_difference_change_nothing():
    differences = normal(9, 0.5)
    padded = np.concatenate([np.zeros(50), differences, np.zeros(50)])
    assert sign_flip_p(padded) == sign_flip_p(differences)


def test_drawn_flips_are_near_all_flips_and_seeded():
    differences = normal(16, 0.4, seed=3)
    assert sign_flip_p(differences, seed=1) == pytest.approx(enumerated_p(differences), abs=0.02)
    assert sign_flip_p(differences, seed=1) == sign_flip_p(differences, seed=1)
    assert sign_flip_p(differences, seed=1) != sign_flip_p(differences, seed=2)


def test_many_queries_take_the_normal_limit():
    differences = normal(400, 0.09, seed=1)
    assert sign_flip_p(differences, seed=1) == sign_flip_p(differences, seed=2)
    assert sign_flip_p(differences) == pytest.approx(drawn_p(differences, 4_000, seed=0), abs=0.02)


def test_one_query_that_outweighs_all_others_is_not_taken_for_many():
    """The others are balanced: half of all flips are farther out."""
    differences = np.concatenate([[1_000.0], np.full(160, 0.5), np.full(160, -0.5)])
    assert sign_flip_p(differences) == pytest.approx(drawn_p(differences, 500, seed=0), abs=0.05)
    assert sign_flip_p(differences) > 0.4


def test_hits_and_misses_are_binomial():
    differences = np.concatenate([np.full(130, 1 / 3), np.full(95, -1 / 3), np.zeros(60)])
    assert sign_flip_p(differences) == pytest.approx(drawn_p(differences, 4_000, seed=0), abs=0.01)


@pytest.mark.parametrize(("differences", "p"), [([], math.nan), ([0, 0, 0], 1), ([3.0], 1), ([-3.0, 0], 1)])
def test_too_few_to_tell(differences, p):
    assert sign_flip_p(np.array(differences, float)) == pytest.approx(p, nan_ok=True)


def test_interval_is_that_of_the_t_test():
    differences = normal(12, 0.3)
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert interval(differences) == pytest.approx((differences.mean(), *expected))


def test_intervals_of_one_and_of_no_query():
    assert interval(np.zeros(0)) == pytest.approx((math.nan,) * 3, nan_ok=True)
    assert interval(np.array([0.5])) == pytest.approx((0.5, math.nan, math.nan), nan_ok=True)
    assert interval(np.full(5, 0.25)) == (0.25, 0.25, 0.25)


def scores(seed, left_out=0):
    found = np.random.default_rng(seed).random(9)
    found[:left_out] = np.nan
    return found


def test_scores_are_means_over_the_seeds_both_have():
    first = {0: scores(1), 1: scores(2, left_out=3), 4: scores(3)}
    second = {1: scores(4, left_out=1), 0: scores(5, left_out=2), 2: scores(6)}
    found = compare(first, second)
    expected = query_differences(first, second)
    assert (found.queries, found.seeds) == (len(expected), 2)
    assert found.mean == pytest.approx(np.mean(expected))
    assert found.p == sign_flip_p(np.array(expected))
    reverse = compare(second, first)
    assert (reverse.mean, reverse.low, reverse.high) == pytest.approx((-found.mean, -found.high, -found.low))


def test_a_query_that_never_counts_is_dropped():
    found = paired_differences([scores(1, left_out=2)], [scores(2, left_out=1)])
    assert found == pytest.approx((scores(1) - scores(2))[2:])


def test_methods_without_a_seed_in_common():
    found = compare({0: scores(1)}, {1: scores(2)})
    assert (found.queries, found.seeds) == (0, 0)
    assert math.isnan(found.p)


def test_scores_of_different_queries():
    with pytest.raises(DataError, match="expected the same queries, got 3 and 9 of them"):
        paired_differences([scores(1)], [scores(2)[:3]])


@pytest.mark.parametrize("ps", [
    [0.01], [0.01, 0.04, 0.03, 0.005], [0.5, 0.5, 0.9], [0.02, 0.02, 0.02], [0.0, 1.0, 0.3],
])  # fmt: skip
def test_holm_rejects_at_the_levels_the_procedure_does(ps):
    assert holm(ps) == pytest.approx([holm_by_rejections(ps, place) for place in range(len(ps))])


def test_holm_of_what_was_not_tested():
    assert holm([]) == []
    assert holm([math.nan, 0.01, 0.04]) == pytest.approx([math.nan, 0.02, 0.04], nan_ok=True)
