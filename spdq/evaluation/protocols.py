"""The named retrieval protocols. A figure without one of these names is a defect.

``R`` and ``n`` stand for a number, as in ``map@50/skip``. "Hit" means a relevant item in the ranking;
"precision at a hit" is the number of hits up to and including it over its rank.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from spdq.errors import UsageError

DEFINITIONS = {
    "map@R": "sum of precision at the hits in the top R / hits in the top R; a query without one counts 0",
    "map@R/skip": "as map@R, but a query without a hit in the top R is left out",
    "map@all": "sum of precision at every hit / all relevant items; a query without any counts 0",
    "map@R/first-hits": "mean precision at the first min(R, relevant) hits wherever they stand; "
    "a query without a relevant item is left out",
    "instance-recall@n": "1 when the query's own item is in the top n, else 0",
    "precision@n": "hits in the top n / n, also where the database holds fewer than n items",
    "recall@n": "hits in the top n / all relevant items; a query without any counts 0",
    "ndcg@n": "sum of gain / log2(rank + 1) over the top n / the largest such sum possible; "
    "a query without a relevant item counts 0",
    "dcg@n": "sum of gain / log2(rank + 1) over the top n / what n items of gain 7 would give: with the gains "
    "2^grade - 1 the measure of the MSR-Bing challenge (n = 25); a query without a relevant item counts 0",
    "median-rank": "median over queries of the rank of the first relevant item, smaller = better; without any, "
    "one more than there are items",
    "pr-curve": "precision and recall at a series of ranks, each averaged over the queries, beside the area "
    "under each query's own curve without interpolation, which is map@all",
}
"""What each protocol measures, by its row in the table (``R`` and ``n`` not filled in)."""

INSTANCE = "instance-recall@n"
"""The one row that judges by each query's own item, not by relevance."""


@dataclass(frozen=True)
class Protocol:
    """One row of :data:`DEFINITIONS` with its number filled in; ``cut`` is None where the row has none."""

    row: str
    cut: int | None = None

    @property
    def name(self) -> str:
        """As :func:`parse_protocol` reads it, for instance ``map@50/skip``."""
        return self.row if self.cut is None else re.sub("@[Rn]", f"@{self.cut}", self.row)

    @property
    def definition(self) -> str:
        """One sentence: what is measured, and what becomes of a query without a hit."""
        return DEFINITIONS[self.row]

    def __str__(self) -> str:
        return self.name


Protocols = str | Protocol | Sequence[str | Protocol]


def parse_protocol(text: str) -> Protocol:
    """The protocol of that exact name.

    Raises
    ------
    UsageError
        No protocol has that name; the message lists those there are.
    """
    for row in DEFINITIONS:
        match = re.fullmatch(re.sub("@[Rn]", "@([1-9][0-9]{0,8})", row), text)
        if match:
            return Protocol(row, int(match[1]) if match.groups() else None)
    known = ", ".join(DEFINITIONS)
    raise UsageError(
        f"unknown protocol {text!r}: expected one of {known}, with R and n a number from 1, as in map@50"
    )


def parse_protocols(protocols: Protocols) -> list[Protocol]:
    """One protocol or several, named or already parsed, as a list.

    Raises
    ------
    UsageError
        As :func:`parse_protocol`.
    """
    if isinstance(protocols, str | Protocol):
        protocols = [protocols]
    return [p if isinstance(p, Protocol) else parse_protocol(p) for p in protocols]
