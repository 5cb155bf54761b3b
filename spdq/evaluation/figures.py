"""What an evaluation hands back: a number with its protocol, its range under ties and its query counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """A value expected over random order of tied items, between the lowest and highest any order gives."""

    value: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class CurvePoint:
    """Recall and precision of the top ``rank`` items, each averaged over all queries."""

    rank: int
    recall: Spread
    precision: Spread


@dataclass(frozen=True)
class Figure:
    """A retrieval figure.

    Attributes
    ----------
    protocol
        Name that :func:`spdq.evaluation.parse_protocol` reads.
    value, lowest, highest
        Expected over random order of tied items, and the extremes over all orders. NaN where no query counts.
    queries
        Number of queries judged, those left out and those without a relevant item among them.
    skipped
        Number of queries the protocol leaves out; expected over ties for ``map@R/skip``, whole for all
        others.
    empty
        Number of queries that have no relevant item in the whole database.
    points
        The curve of ``pr-curve``, by rank; empty for all others.
    each
        Where asked for, the score of every query, expected over random order of tied items; NaN where the
        query is left out.
    """

    protocol: str
    value: float
    lowest: float
    highest: float
    queries: int
    skipped: float
    empty: int
    points: tuple[CurvePoint, ...] = ()
    each: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For ``json.dump``; NaN becomes None and a spread the list [value, lowest, highest]."""
        record: dict[str, Any] = {
            "protocol": self.protocol,
            "value": _number(self.value),
            "lowest": _number(self.lowest),
            "highest": _number(self.highest),
            "queries": self.queries,
            "skipped": _number(self.skipped),
            "empty": self.empty,
        }
        if self.points:
            record["points"] = [
                {"rank": p.rank, "recall": list(p.recall), "precision": list(p.precision)}
                for p in self.points
            ]
        if self.each:
            record["each"] = [_number(score) for score in self.each]
        return record

    def __str__(self) -> str:
        counts = f"{self.queries} queries"
        if self.skipped:
            counts += f", {self.skipped:.6g} skipped"
        if self.empty:
            counts += f", {self.empty} without a relevant item"
        if math.isnan(self.value):
            return f"{self.protocol} undefined: no query counts ({counts})"
        return f"{self.protocol} {self.value:.4f} (ties {self.lowest:.4f} to {self.highest:.4f}; {counts})"


def _number(x: float) -> float | int | None:
    if math.isnan(x):
        return None
    return int(x) if x.is_integer() else x
