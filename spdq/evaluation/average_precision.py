"""Average precision of one query under tied distances: exact expected value and extremes.

Closed forms throughout; the tests hold them against enumeration of every order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spdq.evaluation.averages import LEFT_OUT, Score
from spdq.evaluation.ties import FloatArray, TiedRanking, hits_inside, place_of_hit


def over_all(ranking: TiedRanking, cut: int) -> Score:
    """``map@all``: sum of precision at all hits / all relevant items. ``cut`` is not used."""
    if ranking.relevant == 0:
        return Score(0.0, 0.0, 0.0)
    numbers = np.arange(1, ranking.relevant + 1)
    return Score(
        _sum_of_groups(ranking, len(ranking.start)) / ranking.relevant,
        float((numbers / ranking.worst_ranks).mean()),
        float((numbers / ranking.best_ranks).mean()),
    )


def in_top(ranking: TiedRanking, cut: int) -> Score:
    """``map@R``: sum of precision at hits in the top R / their number; 0 for an order without a hit there."""
    score = in_top_or_skip(ranking, cut)
    return Score(score.value, score.lowest if score.counted == 1 else 0.0, score.highest)


def in_top_or_skip(ranking: TiedRanking, cut: int) -> Score:
    """``map@R/skip``: as ``map@R``, an order without a hit in the top R leaving the query out.

    Where the cut goes through a group, the normaliser depends on how many of the group's hits fall inside.
    All is therefore taken for each such number: the expected sum (hits are uniform over the places inside),
    the largest (hits first) and the smallest (hits last); then weighted by its probability, or the extreme
    taken over numbers: a further late hit may lower the ratio, so neither end of the numbers need be the
    extreme.
    """
    cut = min(cut, ranking.items)
    if cut == 0:
        return LEFT_OUT
    group = ranking.group_at(cut)
    start, before = int(ranking.start[group]), int(ranking.before[group])
    inside = cut - start
    found, chance = hits_inside(int(ranking.size[group]), int(ranking.hits[group]), inside)
    possible = before + found > 0
    if not possible.any():
        return LEFT_OUT
    certain = bool(possible.all())
    found, chance = found[possible], chance[possible]

    inverse = 1 / np.arange(start + 1, cut + 1)
    numbers = np.arange(1, before + 1)
    expected = _sum_of_groups(ranking, group) + _expected_sum(start, before, inside, found, inverse.sum())
    first = np.cumsum(np.append(0.0, np.arange(before + 1, before + inside + 1) * inverse))[found]
    # Hits in the last places: number before + i at rank cut - found + i has precision
    # 1 + (before + found - cut) / rank.
    last = found + (before + found - cut) * np.cumsum(np.append(0.0, inverse[::-1]))[found]
    highest = ((numbers / ranking.best_ranks[:before]).sum() + first) / (before + found)
    lowest = ((numbers / ranking.worst_ranks[:before]).sum() + last) / (before + found)
    return Score(
        float(chance @ (expected / (before + found))),
        float(lowest.min()),
        float(highest.max()),
        1.0 if certain else min(float(chance.sum()), np.nextafter(1, 0)),
    )


def at_first_hits(ranking: TiedRanking, cut: int) -> Score:
    """``map@R/first-hits``: mean precision at the first min(R, relevant) hits, wherever they stand.

    Where the last hit wanted lies in a group with more hits than that, all is taken for each place it may
    stand at; the wanted hits of the group ahead of it are then uniform over the places ahead of it.
    """
    wanted = min(cut, ranking.relevant)
    if wanted == 0:
        return LEFT_OUT
    group = int(np.searchsorted(ranking.before, wanted)) - 1
    start, before, size = int(ranking.start[group]), int(ranking.before[group]), int(ranking.size[group])
    place, chance = place_of_hit(size, int(ranking.hits[group]), wanted - before)
    inverse = 1 / np.arange(start + 1, start + size + 1)
    ahead = np.cumsum(np.append(0.0, inverse))[place - 1]
    sums = _expected_sum(start, before, place - 1, wanted - before - 1, ahead) + wanted * inverse[place - 1]
    numbers = np.arange(1, wanted + 1)
    return Score(
        float(_sum_of_groups(ranking, group) + chance @ sums) / wanted,
        float((numbers / ranking.worst_ranks[:wanted]).mean()),
        float((numbers / ranking.best_ranks[:wanted]).mean()),
    )


def _sum_of_groups(ranking: TiedRanking, groups: int) -> float:
    """Expected sum of precision at the hits of the first ``groups`` groups."""
    start, size = ranking.start[:groups], ranking.size[:groups]
    inverse = 1 / np.arange(1, size.sum() + 1)
    sums = _expected_sum(
        start, ranking.before[:groups], size, ranking.hits[:groups], np.add.reduceat(inverse, start)
    )
    return float(sums.sum())


def _expected_sum(start: Any, before: Any, size: Any, hits: Any, inverse_ranks: Any) -> FloatArray:
    """Expected sum of precision at hits placed uniformly; arguments are numbers or arrays that broadcast.

    Place j of ``size`` has rank start + j, is a hit with probability hits / size, and then sees on average
    (j - 1) (hits - 1) / (size - 1) hits of its own group ahead. ``inverse_ranks`` is the sum of 1 / rank
    over the places, of which the sum of (j - 1) / rank follows.
    """
    later = size - (start + 1) * inverse_ranks
    slope = (hits - 1) / np.maximum(size - 1, 1)
    sums: FloatArray = hits / np.maximum(size, 1) * ((before + 1) * inverse_ranks + slope * later)
    return sums
