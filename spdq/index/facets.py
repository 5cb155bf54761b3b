"""What values the attributes of an index have, and how often: what a person can choose from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from spdq.index.attributes import members
from spdq.index.snapshot import Snapshot

MAX_VALUES = 10_000
"""Texts, or combinations of a set's, that are told apart in a segment; a column of more is not counted."""


@dataclass(frozen=True)
class Facet:
    """One attribute."""

    kind: str
    """"int", "float", "str" or "set"."""
    values: tuple[tuple[str, int], ...] = ()
    """The most frequent texts, or members of sets, and how many items have each; equals by the alphabet."""
    n_values: int | None = None
    """How many different ones there are; None for numbers, and where there are too many to count."""
    minimum: float | None = None
    maximum: float | None = None
    """Of numbers; None where no item has one."""


def facets(snapshot: Snapshot, most: int) -> dict[str, Facet]:
    """Each attribute by its name, with at most ``most`` values."""
    columns = snapshot.state.attributes
    return {
        name: _texts(snapshot, name, kind, most) if kind in ("str", "set") else _numbers(snapshot, name, kind)
        for name, kind in columns.items()
    }


def _texts(snapshot: Snapshot, name: str, kind: str, most: int) -> Facet:
    counted: Counter[str] = Counter()
    for segment in snapshot.segments:
        if segment.attributes is None:
            continue
        found = segment.attributes.count(name, np.flatnonzero(segment.removed), MAX_VALUES + 1)
        if len(found) > MAX_VALUES:
            return Facet(kind)
        for value, count in found:
            if value is not None:
                for text in members(value) if kind == "set" else [value]:
                    counted[text] += count
    ranked = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    return Facet(kind, tuple(ranked[:most]), len(counted))


def _numbers(snapshot: Snapshot, name: str, kind: str) -> Facet:
    found = [
        end
        for segment in snapshot.segments
        if segment.attributes is not None
        for end in segment.attributes.extremes(name, np.flatnonzero(segment.removed))
        if end is not None
    ]
    return Facet(kind, minimum=min(found, default=None), maximum=max(found, default=None))
