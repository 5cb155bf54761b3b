"""Our default recipe against every other method, query by query, in every column at 64 bits."""

from __future__ import annotations

from dataclasses import dataclass

from spdq_benchmarks.retrieval.cells import DEFAULT, Results, Topic
from spdq_benchmarks.retrieval.significance import LEVEL, Difference, compare, holm


@dataclass(frozen=True)
class Comparison:
    """Our default recipe less one method."""

    difference: Difference
    p: float
    """Corrected for the number of methods in the column (Holm)."""

    @property
    def verdict(self) -> int:
        """1 where the default recipe is significantly better, -1 where it is significantly worse, else 0."""
        if not self.p < LEVEL:
            return 0
        return 1 if self.difference.mean > 0 else -1


Comparisons = dict[tuple[Topic, str, str], Comparison]
"""By topic, direction and the other method."""


def compare_all(results: Results) -> Comparisons:
    """Compare wherever both have scores of single queries from the same seeds; empty without our default recipe."""
    return {
        (topic, direction, method): comparison
        for topic in results.topics
        for direction in results.directions(topic)
        for method, comparison in _column(results, topic, direction).items()
    }


def _column(results: Results, topic: Topic, direction: str) -> dict[str, Comparison]:
    ours = results.cell(topic, direction, DEFAULT, results.reference)
    if ours is None:
        return {}
    differences: dict[str, Difference] = {}
    for method in results.judged(topic, results.reference):
        other = results.cell(topic, direction, method, results.reference)
        if method != DEFAULT and other is not None:
            difference = compare(ours.scores, other.scores)
            if difference.queries:
                differences[method] = difference
    corrected = holm([difference.p for difference in differences.values()])
    return {
        method: Comparison(difference, p)
        for (method, difference), p in zip(differences.items(), corrected, strict=True)
    }
