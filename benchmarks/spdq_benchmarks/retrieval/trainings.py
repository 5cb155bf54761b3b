"""What a method is trained on, and the splits it is then judged on."""

from __future__ import annotations

import numpy as np

from spdq.data.splits import Rows, Split, make_split
from spdq.evaluation import Protocol, parse_protocols
from spdq.evaluation.protocols import INSTANCE

QUERIES = "queries"
"""The split of the oldest tables: the database is the queries' own items alone, and labels decide."""

TRAININGS = {
    "rest": ("seen", "heldout", QUERIES),
    "half": ("unseen",),
    "everything": ("trained",),
}
"""By name, the splits that are judged after it. rest: all non-query rows. half: a random half of them, drawn by the
seed. everything: every row."""

BY_LABEL = ("seen", "unseen", QUERIES)
"""Splits judged by shared labels. The others hold all items and are judged by instance recall: of queries not
trained on (heldout) or trained on (trained)."""


def make_splits(training: str, n: int, query: Rows, seed: int) -> dict[str, Split]:
    """The splits of a training by name, for ``n`` rows and a data set's query rows; all have the same training rows.

    In ``trained`` every row is a query. Raises what ``make_split`` raises.
    """
    return {name: _make(name, n, query, seed) for name in TRAININGS[training]}


def _make(name: str, n: int, query: Rows, seed: int) -> Split:
    match name:
        case "heldout":
            return make_split(n, query, "paired", seed)
        case "trained":
            return make_split(n, np.arange(n), "paired", seed, train_on_queries=True)
        case "queries":
            rest = make_split(n, query, "seen", seed)
            return Split(rest.query, rest.train, rest.query, "paired", seed)
        case "unseen":
            return make_split(n, query, "unseen", seed)
        case _:
            return make_split(n, query, "seen", seed)


def protocols_of(split: str, protocols: tuple[str, ...]) -> list[Protocol]:
    """Those of the protocols that a split is judged by: the queries' own items by map@all only, as those tables are."""
    by_label = split in BY_LABEL
    return [
        protocol
        for protocol in parse_protocols(protocols)
        if (protocol.row != INSTANCE) == by_label and (split != QUERIES or protocol.name == "map@all")
    ]
