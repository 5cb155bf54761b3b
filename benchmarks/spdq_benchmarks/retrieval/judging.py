"""Rank the databases of all splits by one contestant's codes or vectors, and judge the rankings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spdq.data.dataset import Dataset
from spdq.data.splits import Rows, Split
from spdq.errors import DataError
from spdq.evaluation import Figure, evaluate_instances, evaluate_labels
from spdq_benchmarks.evaluation import DIRECTIONS
from spdq_benchmarks.retrieval.contestant import Codes, Contestant, Floats, stopwatch
from spdq_benchmarks.retrieval.trainings import BY_LABEL, protocols_of

Coding = Literal["codes", "vectors"]

SCORE_DECIMALS = 5
"""Of the scores of single queries and of the points of curves, in records."""


@dataclass(frozen=True, eq=False)
class Items:
    """Vectors and codes of rows as "i" images, "t" texts and "u" units, and how long one takes to make."""

    rows: Rows
    vectors: Mapping[str, Floats]
    codes: Mapping[str, Codes]
    seconds: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Ranking:
    """One split's queries against its database in one direction."""

    name: str
    split: Split
    direction: str
    contestant: Contestant
    queries: Floats
    items: Items
    coding: Coding

    def distances(self, rows: slice) -> NDArray[Any]:
        """Distances of some queries to all of the database, smaller = closer."""
        if self.coding == "codes":
            return self.contestant.code_distances(self.queries[rows], self._searched)
        return self.contestant.vector_distances(self.queries[rows], self._searched)

    @property
    def own(self) -> Rows:
        """The place of each query's own item in the database of a paired split."""
        return np.searchsorted(self.split.database, self.split.query)

    @cached_property
    def _searched(self) -> NDArray[Any]:
        made = self.items.codes if self.coding == "codes" else self.items.vectors
        return made[self.direction[2]][np.searchsorted(self.items.rows, self.split.database)]


def make_items(contestant: Contestant, splits: Mapping[str, Split], coding: Coding) -> Items:
    """Embed, and for ``codes`` encode, all that the databases hold, each item as an image, a text and a unit."""
    rows = np.unique(np.concatenate([split.database for split in splits.values()]))
    # Kernels are compiled or loaded at first use.
    contestant.encode(contestant.images(rows[:1]))
    contestant.texts(rows[:1])
    vectors: dict[str, Floats] = {}
    codes: dict[str, Codes] = {}
    seconds = {}
    for modality, name in (("i", "encode_per_image"), ("t", "encode_per_text"), ("u", "")):
        with stopwatch() as watch:
            if modality == "u":
                vectors["u"] = contestant.units(vectors["i"], vectors["t"])
            else:
                vectors[modality] = (contestant.images if modality == "i" else contestant.texts)(rows)
            if coding == "codes":
                codes[modality] = contestant.encode(vectors[modality])
        if name:
            seconds[name] = watch.seconds / len(rows)
    return Items(rows, vectors, codes, seconds)


def rankings(
    contestant: Contestant, items: Items, splits: Mapping[str, Split], coding: Coding
) -> Iterator[Ranking]:
    """All splits in all directions. Text queries are first lines."""
    for name, split in splits.items():
        queries = {
            "i": contestant.weighted(contestant.images(split.query)),
            "t": contestant.weighted(contestant.texts(split.query, first_line=True)),
        }
        for direction in DIRECTIONS:
            yield Ranking(name, split, direction, contestant, queries[direction[0]], items, coding)


def judge(ranking: Ranking, dataset: Dataset, protocols: tuple[str, ...]) -> list[dict[str, Any]]:
    """The figures of a ranking as records have them, by every label set where labels decide what is relevant."""
    asked = protocols_of(ranking.name, protocols)
    if not asked:
        return []
    if ranking.name not in BY_LABEL:
        figures = evaluate_instances(ranking.distances, ranking.own, asked, each=True)
        return [_entry(ranking, "", figure) for figure in figures]
    found = []
    for prefix in label_sets(dataset):
        labels = labels_of(dataset, prefix)
        split = ranking.split
        figures = evaluate_labels(
            ranking.distances, labels[split.query], labels[split.database], asked, each=True
        )
        found += [_entry(ranking, prefix, figure) for figure in figures]
    return found


def label_sets(dataset: Dataset) -> list[str]:
    """The prefixes of the label names where all have one, each a label set of its own; else the one set ""."""
    if not all(":" in name for name in dataset.label_names):
        return [""]
    return list(dict.fromkeys(f"{name.partition(':')[0]}:" for name in dataset.label_names))


def labels_of(dataset: Dataset, prefix: str) -> NDArray[np.uint8]:
    """The columns (n, c) of a label set; DataError where there are no labels."""
    labels = (dataset.select_labels(prefix) if prefix else dataset).labels
    if labels is None:
        raise DataError(f"data set {dataset.name} has no /labels to judge by")
    return labels


def _entry(ranking: Ranking, labels: str, figure: Figure) -> dict[str, Any]:
    entry = {
        "split": ranking.name,
        "labels": labels,
        "direction": ranking.direction,
        **figure.to_json(),
    }
    if figure.points:  # Their single scores are those of map@all.
        entry["points"] = [
            {"rank": p.rank, "recall": [*map(_short, p.recall)], "precision": [*map(_short, p.precision)]}
            for p in figure.points
        ]
        del entry["each"]
    else:
        entry["each"] = [_short(score) for score in figure.each]
    return entry


def _short(score: float) -> float | int | None:
    if math.isnan(score):
        return None
    rounded = round(score, SCORE_DECIMALS)
    return int(rounded) if rounded.is_integer() else rounded
