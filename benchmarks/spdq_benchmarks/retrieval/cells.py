"""The records of a run, sorted into cells: one method's figure under one question, over its seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spdq.errors import DataError

Record = Mapping[str, Any]

DEFAULT, PAPER = "spdq", "spdq-paper"
"""Our two recipes."""
LABEL_SPLITS, INSTANCE_SPLITS = ("seen", "unseen"), ("heldout", "trained")
CROSS_MODAL, UNIT = ("i2t", "t2i"), ("t2u", "i2u")
DIRECTIONS = (*CROSS_MODAL, *UNIT)
REFERENCE = 64
"""Bits at which methods are ordered and compared."""
FLOATS = 0
"""Bits of a cell that was ranked by float vectors."""


class Topic(NamedTuple):
    """What one table is about: no table, and so no column, has two protocols."""

    dataset: str
    split: str
    labels: str
    protocol: str

    @property
    def is_instance(self) -> bool:
        """Whether the very item is asked for, not what shares a label."""
        return self.protocol.startswith("instance-recall")


@dataclass(frozen=True)
class Run:
    """One figure of one seed; ``value`` is NaN where no query counted."""

    seed: int
    value: float
    lowest: float
    highest: float
    queries: int
    skipped: float
    empty: int
    each: NDArray[np.float64] | None
    """Score of every query, NaN where it was left out."""
    points: tuple[Mapping[str, Any], ...]
    """Of ``pr-curve``."""


@dataclass(frozen=True)
class Cell:
    """The runs of one method, code length, question and direction, by seed."""

    runs: tuple[Run, ...]

    @cached_property
    def values(self) -> dict[int, float]:
        """The figure by seed."""
        return {run.seed: run.value for run in self.runs}

    @cached_property
    def mean(self) -> float:
        """Mean over the seeds."""
        return math.fsum(self.values.values()) / len(self.values)

    @cached_property
    def deviation(self) -> float:
        """Sample standard deviation over the seeds, 0 for a single one."""
        return float(np.std([*self.values.values()], ddof=1)) if len(self.runs) > 1 else 0.0

    @property
    def scores(self) -> dict[int, NDArray[np.float64]]:
        """Scores of every query by seed; empty where the records have none."""
        return {run.seed: run.each for run in self.runs if run.each is not None}

    def on_seeds_of(self, other: Cell) -> float:
        """Mean over the seeds that another cell has, too; over all where they share none.

        Seeds draw splits: a method with one seed is fairly compared with another's figure of that seed.
        """
        shared = [value for seed, value in self.values.items() if seed in other.values]
        return math.fsum(shared) / len(shared) if shared else self.mean


class Results:
    """All records of a run, to be asked for cells.

    Raises
    ------
    DataError
        No records, two of the same job, length and coding, or a data set in two versions.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = sorted(records, key=_place)
        if not self.records:
            raise DataError("no records: nothing was measured, so there is nothing to report")
        _check_datasets(self.records)
        runs: dict[Topic, dict[tuple[str, str, int], dict[int, Run]]] = {}
        for record in self.records:
            bits = FLOATS if record["coding"] == "vectors" else int(record["bits"])
            for figure in record["figures"]:
                topic = Topic(record["dataset"], figure["split"], figure["labels"], figure["protocol"])
                key = figure["direction"], record["method"], bits
                by_seed = runs.setdefault(topic, {}).setdefault(key, {})
                if record["seed"] in by_seed:
                    raise DataError(
                        f"two records of {_named(record)}: {topic.protocol} {figure['direction']}"
                    )
                by_seed[record["seed"]] = _run(record["seed"], figure)
        self._cells = {
            topic: {key: Cell(tuple(by_seed.values())) for key, by_seed in found.items()}
            for topic, found in runs.items()
        }

        self._judged: dict[tuple[Topic, int | None], list[str]] = {}

    @cached_property
    def topics(self) -> list[Topic]:
        """Every table's subject: by data set, split and label set, protocols as the records have them."""
        protocols = list(dict.fromkeys(topic.protocol for topic in self._cells))
        splits = [*LABEL_SPLITS, *INSTANCE_SPLITS]

        def place(topic: Topic) -> tuple[str, int, str, str, int]:
            known = splits.index(topic.split) if topic.split in splits else len(splits)
            return topic.dataset, known, topic.split, topic.labels, protocols.index(topic.protocol)

        return sorted(self._cells, key=place)

    @cached_property
    def datasets(self) -> list[str]:
        """Names of the data sets."""
        return sorted({record["dataset"] for record in self.records})

    @cached_property
    def methods(self) -> list[str]:
        """Names of the methods, ours first."""
        return sorted({record["method"] for record in self.records}, key=lambda name: (not_ours(name), name))

    @cached_property
    def bits(self) -> list[int]:
        """Code lengths, ascending."""
        return sorted({bits for found in self._cells.values() for *_, bits in found} - {FLOATS})

    @cached_property
    def reference(self) -> int:
        """64 bits, or the length nearest to that; 0 where no codes were judged."""
        return min(self.bits, key=lambda bits: (abs(math.log2(bits / REFERENCE)), -bits), default=FLOATS)

    def directions(self, topic: Topic) -> list[str]:
        """Those that the topic was measured in."""
        found = {direction for direction, *_ in self._cells[topic]}
        return sorted(found, key=lambda d: (DIRECTIONS.index(d) if d in DIRECTIONS else len(DIRECTIONS), d))

    def main_directions(self, topic: Topic) -> list[str]:
        """The directions that summaries count: image and text for labels, units for instance recall; all where none is.

        Mean vectors of image and text, as most methods have for units, are no part of any paper here.
        """
        found = self.directions(topic)
        wanted = UNIT if topic.is_instance else CROSS_MODAL
        return [direction for direction in found if direction in wanted] or found

    def cell(self, topic: Topic, direction: str, method: str, bits: int) -> Cell | None:
        """What a method reached, None where it was not measured; bits 0 are float vectors."""
        return self._cells[topic].get((direction, method, bits))

    def mean(self, topic: Topic, directions: Sequence[str], method: str, bits: int) -> Cell | None:
        """The mean over directions as a cell without scores: of the seeds that have all of them, or None."""
        if len(directions) == 1:
            return self.cell(topic, directions[0], method, bits)
        cells = [self.cell(topic, direction, method, bits) for direction in directions]
        by_seed = [{run.seed: run for run in cell.runs} if cell else {} for cell in cells]
        shared = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
        runs = [_mean_run([runs[seed] for runs in by_seed]) for seed in shared]
        return Cell(tuple(runs)) if runs else None

    def judged(self, topic: Topic, bits: int | None = None) -> list[str]:
        """Methods with a cell of the topic, at ``bits`` where given: ours first, then by their mean at 64 bits.

        The mean is that over the main directions.
        """
        if (topic, bits) in self._judged:
            return self._judged[topic, bits]
        directions = self.main_directions(topic)
        found = {m for _, m, b in self._cells[topic] if bits in (None, b)}

        def place(method: str) -> tuple[int, float, str]:
            reached = self.mean(topic, directions, method, FLOATS if bits == FLOATS else self.reference)
            value = reached.mean if reached else math.nan
            return not_ours(method), math.inf if math.isnan(value) else -value, method

        self._judged[topic, bits] = sorted(found, key=place)
        return self._judged[topic, bits]


def not_ours(method: str) -> int:
    """0 for our default recipe, 1 for the paper's, 2 for their ablations (``spdq-paper:no-mmd``), 3 for all others."""
    if method in (DEFAULT, PAPER):
        return int(method == PAPER)
    return 2 if method.partition(":")[0] in (DEFAULT, PAPER) else 3


def _run(seed: int, figure: Mapping[str, Any]) -> Run:
    value, lowest, highest = (_number(figure[name]) for name in ("value", "lowest", "highest"))
    each = figure.get("each")
    return Run(
        seed,
        value,
        lowest,
        highest,
        figure["queries"],
        _number(figure["skipped"]),
        figure["empty"],
        None if each is None else np.array(each, dtype=np.float64),
        tuple(figure.get("points", ())),
    )


def _mean_run(runs: Sequence[Run]) -> Run:
    value, lowest, highest = (
        math.fsum(getattr(run, name) for run in runs) / len(runs) for name in ("value", "lowest", "highest")
    )
    first = runs[0]
    return Run(first.seed, value, lowest, highest, first.queries, first.skipped, first.empty, None, ())


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _place(record: Record) -> tuple[str, str, str, int, int]:
    return record["dataset"], record["training"], record["method"], record["bits"], record["seed"]


def _named(record: Record) -> str:
    coding = "float vectors" if record["coding"] == "vectors" else f"{record['bits']} bits"
    return f"{record['dataset']}, {record['training']}, {record['method']}, seed {record['seed']}, {coding}"


def _check_datasets(records: Sequence[Record]) -> None:
    digests: dict[str, str] = {}
    for record in records:
        name, digest = record["dataset"], record["dataset_digest"]
        if digests.setdefault(name, digest) != digest:
            raise DataError(
                f"records of data set {name} are of two versions of it ({digests[name][:12]} and {digest[:12]}): "
                "report one at a time"
            )
