"""Train and judge over code lengths, splits and seeds: one table a data set, every figure with its protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from spdq.data.dataset import Dataset
from spdq.data.splits import SplitKind, make_split
from spdq.errors import DataError
from spdq.training.spdq import BITS, train_spdq, with_bits
from spdq_benchmarks.evaluation import CROSS_MODAL, DEFAULT_PROTOCOLS, Coding, judge

Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Cell:
    """Mean and deviation of one figure over seeds."""

    dataset: str
    recipe: str
    split: str
    coding: str
    bits: int
    protocol: str
    direction: str
    labels: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        """Sample standard deviation over the seeds, 0 for a single one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else 0.0

    def to_json(self) -> dict[str, Any]:
        """For ``json.dump``."""
        return {**dataclasses.asdict(self), "mean": self.mean, "deviation": self.deviation}


def benchmark_retrieval(
    dataset: Dataset,
    recipes: Sequence[str] = ("default", "paper"),
    kinds: Sequence[SplitKind] = ("seen", "unseen"),
    bits: Sequence[int] = BITS,
    seeds: int = 3,
    labels: str = "",
    report: Report | None = None,
) -> list[Cell]:
    """Judge each recipe by map@50 and map@all in both directions on label-free codes.

    Seed s draws split, initialisation and batches. The default recipe trains one network a seed and split and fits
    codebooks of each length on it; its float vectors are judged too. The paper's learns codebooks with the network,
    so it trains for each length.

    Parameters
    ----------
    dataset
        Its query rows stay the queries of every split.
    report
        Called with a line of text when a training run is judged.

    Raises
    ------
    DataError
        The data set has no split or lacks what training needs.
    UsageError
        An unknown recipe, or bits that are not 16, 32, 64 or 128.
    """
    if dataset.split is None:
        raise DataError(f"data set {dataset.name} has no split: make one with `spdq dataset split`")
    values: dict[tuple[str, str, str, int, str, str], list[float]] = {}
    for recipe in recipes:
        for kind in kinds:
            for seed in range(seeds):
                split = make_split(len(dataset), dataset.split.query, kind, seed)
                for key, value in _figures(dataset.with_split(split), recipe, bits, seed, labels):
                    values.setdefault((recipe, kind, *key), []).append(value)
                if report is not None:
                    report(f"{dataset.name} {recipe} {kind} seed {seed}")
    return [
        Cell(dataset.name, recipe, kind, coding, length, protocol, direction, labels, tuple(found))
        for (recipe, kind, coding, length, protocol, direction), found in values.items()
    ]


def _figures(
    dataset: Dataset, recipe: str, bits: Sequence[int], seed: int, labels: str
) -> Iterator[tuple[tuple[str, int, str, str], float]]:
    """Figures of one seed and split by coding, bits, protocol and direction."""
    model = train_spdq(dataset, bits=bits[0], recipe=recipe, seed=seed)
    for place, length in enumerate(bits):
        codings: list[Coding] = ["codes"] if place else ["vectors", "codes"]
        if recipe == "paper":
            codings.append("label codes")
        if place:
            model = with_bits(model, dataset, length)
        for found in judge(
            model,
            dataset,
            directions=CROSS_MODAL,
            protocols=DEFAULT_PROTOCOLS,
            labels=labels,
            codings=codings,
        ):
            key = (
                found.coding,
                0 if found.coding == "vectors" else length,
                found.figure.protocol,
                found.direction,
            )
            yield key, found.figure.value


def table(cells: Sequence[Cell]) -> str:
    """Markdown: a row a recipe, split, coding and length; columns are protocols and directions, mean (deviation)."""
    columns = list(dict.fromkeys((cell.protocol, cell.direction) for cell in cells))
    rows: dict[tuple[str, str, str, str, int], dict[tuple[str, str], Cell]] = {}
    for cell in cells:
        row = (cell.dataset, cell.recipe, cell.split, cell.coding, cell.bits)
        rows.setdefault(row, {})[(cell.protocol, cell.direction)] = cell
    heads = ["data set", "recipe", "split", "coding", *(f"{p} {d}" for p, d in columns)]
    lines = [_row(heads), _row(["---"] * len(heads))]
    for (name, recipe, kind, coding, length), found in rows.items():
        code = {"vectors": "float vectors", "codes": f"{length} bits"}.get(
            coding, f"upper bound, {length} bits"
        )
        figures = [f"{found[c].mean:.3f} ({found[c].deviation:.3f})" for c in columns]
        lines.append(_row([name, recipe, kind, code, *figures]))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
