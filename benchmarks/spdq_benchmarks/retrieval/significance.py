"""Is one method better than another on the same queries? Paired differences, a sign-flip test, Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from spdq.errors import DataError

Scores = NDArray[np.float64]

LEVEL = 0.05
"""A corrected p below it is called significant."""
CONFIDENCE = 0.95
RESAMPLES = 9_999
"""Random sign flips of one test; all of them where there are no more."""
LARGE = 100.0
"""Effective number of differences from which the normal limit stands for the flips, see :func:`sign_flip_p`."""


@dataclass(frozen=True)
class Difference:
    """How far one method is above another, by the queries both were judged on; NaN where there is none.

    Attributes
    ----------
    mean, low, high
        Mean of the queries' differences and its 95 % interval (Student's t; NaN for a single query).
    p
        Two-sided, of the sign-flip test.
    queries, seeds
        How many of each both methods share.
    """

    mean: float
    low: float
    high: float
    p: float
    queries: int
    seeds: int


def compare(first: Mapping[int, Scores], second: Mapping[int, Scores], seed: int = 0) -> Difference:
    """The difference of two methods, ``first`` less ``second``.

    A query's score is its mean over the seeds that both methods have. A query that a protocol leaves out of either
    ranking (NaN) is left out of the pair. What training and splits would do with other seeds is not in the interval.

    Parameters
    ----------
    first, second
        By seed, the scores (queries,) float64 of the same queries in the same order.
    seed
        Draws the sign flips.

    Raises
    ------
    DataError
        Different numbers of queries.
    """
    shared = sorted(first.keys() & second.keys())
    differences = paired_differences([first[s] for s in shared], [second[s] for s in shared])
    mean, low, high = interval(differences)
    return Difference(mean, low, high, sign_flip_p(differences, seed), len(differences), len(shared))


def paired_differences(first: Sequence[Scores], second: Sequence[Scores]) -> Scores:
    """Differences (queries,) of the means over runs; queries without a run where both count are dropped.

    Raises
    ------
    DataError
        Different numbers of queries.
    """
    if not first:
        return np.zeros(0)
    sizes = sorted({len(scores) for scores in (*first, *second)})
    if len(sizes) > 1:
        raise DataError(
            f"paired scores: expected the same queries, got {' and '.join(map(str, sizes))} of them"
        )
    runs = np.stack(first) - np.stack(second)
    counted = ~np.isnan(runs)
    kept = counted.any(axis=0)
    means: Scores = np.where(counted, runs, 0.0).sum(axis=0)[kept] / counted.sum(axis=0)[kept]
    return means


def interval(differences: Scores) -> tuple[float, float, float]:
    """Mean of (n,) differences and its 95 % interval by Student's t: (mean, low, high)."""
    n = len(differences)
    if n == 0:
        return math.nan, math.nan, math.nan
    mean = float(differences.mean())
    if n == 1:
        return mean, math.nan, math.nan
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * float(differences.std(ddof=1)) / math.sqrt(n)
    return mean, mean - reach, mean + reach


def sign_flip_p(differences: Scores, seed: int = 0) -> float:
    """Two-sided p of the mean of (n,) differences under random signs; NaN without differences.

    Exact where there are at most 9,999 ways to flip, and where all differences are of one size (hits and misses of one
    seed), whose signs are binomial; otherwise by 9,999 seeded flips. The sum of flipped differences d has excess
    kurtosis -2 / m with m = (sum d^2)^2 / sum d^4, the number of differences that count: from m = 100 on the normal
    limit of flips, z = sum d / sqrt(sum d^2), is used instead. Queries without a difference change nothing.
    """
    if len(differences) == 0:
        return math.nan
    moved = differences[differences != 0]
    if len(moved) == 0:
        return 1.0
    scaled = moved / np.abs(moved).max()
    if np.all(np.abs(scaled) == 1):
        return float(stats.binomtest(int(np.sum(scaled > 0)), len(scaled)).pvalue)
    squares = float(np.sum(scaled**2))
    if squares**2 / float(np.sum(scaled**4)) >= LARGE:
        return float(2 * stats.norm.sf(abs(float(scaled.sum())) / math.sqrt(squares)))
    found = stats.permutation_test(
        (scaled,),
        # Rounded, for flips whose sums are equal must tie.
        lambda flipped, axis: flipped.mean(axis=axis).round(12),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=1_000,
        random_state=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down correction of several tests' p, in their order; NaN is no test and stays NaN."""
    tested = sorted((p, place) for place, p in enumerate(ps) if not math.isnan(p))
    adjusted = [math.nan] * len(ps)
    reached = 0.0
    for rank, (p, place) in enumerate(tested):
        reached = max(reached, min(1.0, p * (len(tested) - rank)))
        adjusted[place] = reached
    return adjusted
