"""Retrieval figures by enumeration: every order of tied items, every definition in its plainest form."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np


def orders(distances, gains):
    """Every distinct order of one query's gains that the distances allow; all are equally likely."""
    groups = [list(_arrangements(gains[distances == d].tolist())) for d in np.unique(distances)]
    return [tuple(itertools.chain(*parts)) for parts in itertools.product(*groups)]


def _arrangements(items):
    if not items:
        yield ()
    for first in sorted(set(items)):
        rest = list(items)
        rest.remove(first)
        for tail in _arrangements(rest):
            yield (first, *tail)


def score(row, cut, ranked):
    """Score of one ranked list of gains, None where the protocol leaves the query out."""
    relevant = [gain > 0 for gain in ranked]
    total = sum(relevant)
    precision = [sum(relevant[: i + 1]) / (i + 1) for i in range(len(relevant))]
    at_hits = [p for p, hit in zip(precision, relevant, strict=True) if hit]
    found = sum(relevant[:cut])
    if row == "map@all":
        return sum(at_hits) / total if total else 0.0
    if row == "map@R":
        return sum(at_hits[:found]) / found if found else 0.0
    if row == "map@R/skip":
        return sum(at_hits[:found]) / found if found else None
    if row == "map@R/first-hits":
        wanted = min(cut, total)
        return sum(at_hits[:wanted]) / wanted if wanted else None
    if row == "precision@n":
        return found / cut
    if row == "recall@n":
        return found / total if total else 0.0
    if row == "ndcg@n":
        ideal = _dcg(sorted(ranked, reverse=True)[:cut])
        return _dcg(ranked[:cut]) / ideal if ideal else 0.0
    if row == "dcg@n":
        return _dcg(ranked[:cut]) / _dcg([7] * cut)
    if row == "median-rank":
        return relevant.index(True) + 1 if total else len(ranked) + 1
    raise KeyError(row)


def figure(row, cut, distances, gains):
    """(expected, lowest, highest) mean over the queries that count, over all joint orders where one does."""
    outcomes = []
    for query_distances, query_gains in zip(distances, gains, strict=True):
        scores = Counter(score(row, cut, ranked) for ranked in orders(query_distances, query_gains))
        outcomes.append([(value, count / scores.total()) for value, count in scores.items()])
    means = []
    for joint in itertools.product(*outcomes):
        counted = [value for value, _ in joint if value is not None]
        if counted:
            means.append((sum(counted) / len(counted), math.prod(chance for _, chance in joint)))
    if not means:
        return math.nan, math.nan, math.nan
    values = [mean for mean, _ in means]
    weight = sum(chance for _, chance in means)
    return sum(mean * chance for mean, chance in means) / weight, min(values), max(values)


def _dcg(gains):
    return sum(gain / math.log2(i + 2) for i, gain in enumerate(gains))
