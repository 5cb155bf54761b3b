"""Slow plain twins of the statistics in reports of retrieval runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np


def enumerated_p(differences: Sequence[float]) -> float:
    """Share of all 2^n sign flips whose mean is at least as far from 0 as the one found."""
    found = abs(math.fsum(differences))
    sums = [
        abs(math.fsum(sign * value for sign, value in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(total >= found - 1e-9 for total in sums) / len(sums)


def drawn_p(differences: Sequence[float], flips: int, seed: int) -> float:
    """The same share among random flips, drawn one by one."""
    random = np.random.default_rng(seed)
    values = np.array(differences)
    found = abs(values.sum())
    hits = sum(
        abs((random.choice([-1, 1], len(values)) * values).sum()) >= found - 1e-9 for _ in range(flips)
    )
    return hits / flips


def holm_by_rejections(ps: Sequence[float], place: int) -> float:
    """The smallest level at which Holm's procedure rejects a hypothesis, found by trying every level it could be."""
    m = len(ps)
    levels = sorted({min(1.0, p * factor) for p in ps for factor in range(1, m + 1)} | {1.0})
    for level in levels:
        order = sorted(range(m), key=lambda i: ps[i])
        for step, hypothesis in enumerate(order):
            if ps[hypothesis] > level / (m - step) + 1e-15:
                break
            if hypothesis == place:
                return level
    return 1.0


def query_differences(
    first: Mapping[int, Sequence[float]], second: Mapping[int, Sequence[float]]
) -> list[float]:
    """Differences of every query's mean over the seeds both have, queries that never count left out."""
    seeds = [seed for seed in first if seed in second]
    found = []
    for query in range(len(first[seeds[0]])):
        values = [
            first[seed][query] - second[seed][query]
            for seed in seeds
            if not math.isnan(first[seed][query]) and not math.isnan(second[seed][query])
        ]
        if values:
            found.append(sum(values) / len(values))
    return found
