"""The rows of the speed table: which searches are raced, and the figures they have to reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

from spdq.errors import UsageError
from spdq_benchmarks.speed.data import CodeKind

Queries = Literal["batch", "single", "cold"]
"""All queries in one call; one query a call; or that with nothing of the codes left in any cache."""

SIZES = (100_000, 1_000_000, 10_000_000)
MIDDLE = 1_000_000
"""Filters, row orders and Hamming codes are measured up to this size."""
NEIGHBOURS = (1, 10, 100, 1000)
TWO, FOUR, EIGHT, SIXTEEN = (CodeKind(n, 8) for n in (2, 4, 8, 16))
NIBBLES = CodeKind(16, 4)
BITS = "64 bits"
"""Stands for the Hamming codes where a row names its code."""

HALF, TENTH, HUNDREDTH, THOUSANDTH = 0.5, 0.1, 0.01, 0.001


class Target(NamedTuple):
    """What a ratio must reach, and what it should; or, ``at_most``, must not exceed."""

    must: float
    aim: float
    at_most: bool = False

    def reached(self, ratio: float) -> bool:
        """Whether the must is kept."""
        return ratio <= self.must if self.at_most else ratio >= self.must


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    case: str
    code: str
    n_rows: int
    queries: Queries
    k: int
    detail: str = ""
    density: float = 1.0
    """Share of the rows a filter allows."""

    @property
    def name(self) -> str:
        """All of it in words; the key of ``TARGETS``."""
        queries = "" if self.queries == self.case else self.queries
        parts = (self.case, self.detail, self.code, queries, short(self.n_rows), f"k={self.k}")
        return " ".join(filter(None, parts))


@dataclass(frozen=True)
class Case:
    """Rows that belong together, by the name ``--case`` takes."""

    rows: Callable[[int], Iterable[Row]]
    """The rows at one size of the collection."""
    sizes: Literal["all", "middle", "largest"]
    needs_faiss: bool = True


def short(count: int) -> str:
    """A number of rows as 20k or 10M."""
    for unit, letter in ((1_000_000, "M"), (1000, "k")):
        if count % unit == 0:
            return f"{count // unit}{letter}"
    return str(count)


def _pq(n_rows: int) -> Iterator[Row]:
    for kind, k in product((TWO, FOUR, EIGHT, SIXTEEN), NEIGHBOURS):
        yield Row("pq", kind.name, n_rows, "batch", k)


def _single(n_rows: int) -> Iterator[Row]:
    for kind, k in product((TWO, FOUR, EIGHT, SIXTEEN), NEIGHBOURS):
        yield Row("single", kind.name, n_rows, "single", k)


def _cold(n_rows: int) -> Iterator[Row]:
    for kind, k in product((EIGHT, SIXTEEN), (10, 100)):
        yield Row("cold", kind.name, n_rows, "cold", k)


def _fast_scan(n_rows: int) -> Iterator[Row]:
    queries: tuple[Queries, ...] = ("batch", "single")
    for mode, k in product(queries, NEIGHBOURS):
        yield Row("fastscan", NIBBLES.name, n_rows, mode, k)


def _equal_bytes(n_rows: int) -> Iterator[Row]:
    for k in (10, 100, 1000):
        yield Row("equal-bytes", EIGHT.name, n_rows, "batch", k)


def _bandwidth(n_rows: int) -> Iterator[Row]:
    queries: tuple[Queries, ...] = ("single", "cold")
    for kind, mode in product((EIGHT, NIBBLES), queries):
        yield Row("bandwidth", kind.name, n_rows, mode, 10)


def _filters(n_rows: int) -> Iterator[Row]:
    for detail, density in (
        ("mask 50 %", HALF),
        ("mask 10 %", TENTH),
        ("mask 1 %", HUNDREDTH),
        ("mask 10 % in a run", TENTH),
        ("mask 1 % in a run", HUNDREDTH),
        ("shared 50 %", HALF),
        ("shared 10 %", TENTH),
        ("shared 1 %", HUNDREDTH),
    ):
        yield Row("filters", EIGHT.name, n_rows, "batch", 100, detail, density)
    for detail, density in (
        ("1 %", HUNDREDTH),
        ("0.1 %", THOUSANDTH),
        ("1 % kept", HUNDREDTH),
        ("0.1 % kept", THOUSANDTH),
    ):
        yield Row("filters", EIGHT.name, n_rows, "single", 100, detail, density)


def _order(n_rows: int) -> Iterator[Row]:
    for k in (10, 100):
        yield Row("order", EIGHT.name, n_rows, "single", k, "worst first")


def _hamming(n_rows: int) -> Iterator[Row]:
    for k in (10, 100):
        yield Row("hamming", BITS, n_rows, "batch", k)


def _avx2(n_rows: int) -> Iterator[Row]:
    for k in (10, 100):
        yield Row("avx2", EIGHT.name, n_rows, "batch", k)


def _threads(n_rows: int) -> Iterator[Row]:
    yield Row("threads", EIGHT.name, n_rows, "batch", 10, "2 against 1")


def _peers(n_rows: int) -> Iterator[Row]:
    for detail, code in (
        ("NumPy vectors", EIGHT.name),
        ("IndexIVFPQFastScan", NIBBLES.name),
        ("ScaNN", NIBBLES.name),
        ("usearch", BITS),
    ):
        yield Row("peers", code, n_rows, "batch", 10, detail)


CASES: dict[str, Case] = {
    "pq": Case(_pq, "all"),
    "single": Case(_single, "all"),
    "cold": Case(_cold, "largest"),
    "fastscan": Case(_fast_scan, "all"),
    "equal-bytes": Case(_equal_bytes, "all"),
    "bandwidth": Case(_bandwidth, "all", needs_faiss=False),
    "filters": Case(_filters, "middle", needs_faiss=False),
    "order": Case(_order, "middle", needs_faiss=False),
    "hamming": Case(_hamming, "middle"),
    "avx2": Case(_avx2, "middle"),
    "threads": Case(_threads, "largest", needs_faiss=False),
    "peers": Case(_peers, "middle", needs_faiss=False),
}

TARGETS: dict[str, Target] = {
    "pq 8x8 batch 1M k=10": Target(20, 30),
    "pq 8x8 batch 1M k=100": Target(18, 24),
    "pq 8x8 batch 1M k=1000": Target(12, 17),
    "pq 8x8 batch 10M k=10": Target(28, 42),
    "pq 8x8 batch 10M k=100": Target(24, 33),
    "single 8x8 1M k=10": Target(12, 16),
    "single 8x8 1M k=100": Target(11, 16),
    "cold 8x8 10M k=10": Target(7, 10),
    "cold 8x8 10M k=100": Target(7, 10),
    "pq 16x8 batch 1M k=10": Target(7, 20),
    "pq 16x8 batch 1M k=100": Target(7, 20),
    "pq 16x8 batch 10M k=10": Target(25, 50),
    "pq 16x8 batch 10M k=100": Target(25, 50),
    "fastscan 16x4 batch 1M k=10": Target(2.3, 3.2),
    "fastscan 16x4 batch 1M k=100": Target(2.2, 2.8),
    "fastscan 16x4 batch 1M k=1000": Target(1.7, 2.3),
    "fastscan 16x4 batch 10M k=10": Target(3.0, 4.2),
    "fastscan 16x4 batch 10M k=100": Target(2.6, 3.3),
    "fastscan 16x4 single 1M k=10": Target(1.7, 2.4),
    "fastscan 16x4 single 1M k=100": Target(1.7, 2.4),
    "fastscan 16x4 single 1M k=1000": Target(1.7, 2.4),
    "equal-bytes 8x8 batch 1M k=10": Target(1.6, 2.5),
    "equal-bytes 8x8 batch 1M k=100": Target(1.6, 2.5),
    "equal-bytes 8x8 batch 10M k=10": Target(1.6, 2.5),
    "equal-bytes 8x8 batch 10M k=100": Target(1.6, 2.5),
    "bandwidth 8x8 single 1M k=10": Target(0.85, 0.96),
    "bandwidth 8x8 cold 10M k=10": Target(0.60, 0.75),
    "filters mask 50 % 8x8 batch 1M k=100": Target(1.05, 1.0, at_most=True),
    "filters mask 10 % 8x8 batch 1M k=100": Target(1.05, 1.0, at_most=True),
    "filters mask 1 % 8x8 batch 1M k=100": Target(1.05, 1.0, at_most=True),
    "filters mask 10 % in a run 8x8 batch 1M k=100": Target(1.05, 1.0, at_most=True),
    "filters mask 1 % in a run 8x8 batch 1M k=100": Target(1.05, 1.0, at_most=True),
    "filters shared 10 % 8x8 batch 1M k=100": Target(3.5, 4.5),
    "filters shared 1 % 8x8 batch 1M k=100": Target(8, 11),
    "filters 0.1 % 8x8 single 1M k=100": Target(6, 9),
    "order worst first 8x8 single 1M k=10": Target(4, 2, at_most=True),
    "order worst first 8x8 single 1M k=100": Target(4, 2, at_most=True),
    "hamming 64 bits batch 1M k=10": Target(4, 6),
    "hamming 64 bits batch 1M k=100": Target(4, 6),
    "avx2 8x8 batch 1M k=10": Target(3, 5),
    "avx2 8x8 batch 1M k=100": Target(3, 5),
    "threads 2 against 1 8x8 batch 10M k=10": Target(1.6, 1.9),
}
"""Figures to reach at the sizes they were stated for."""


def plan(sizes: Sequence[int], cases: Sequence[str]) -> list[Row]:
    """Return the rows of the cases, small collections first.

    Raises
    ------
    UsageError
        An unknown case, or no size.
    """
    if unknown := [name for name in cases if name not in CASES]:
        raise UsageError(f"unknown case {unknown[0]!r}: known are {', '.join(CASES)}")
    if not sizes:
        raise UsageError("sizes must not be empty: name at least one number of rows")
    sizes = sorted(set(sizes))
    fitting = {
        "all": set(sizes),
        "middle": {size for size in sizes if size <= MIDDLE} or {sizes[0]},
        "largest": {sizes[-1]},
    }
    return [
        row
        for size in sizes
        for name in CASES
        if name in cases and size in fitting[CASES[name].sizes]
        for row in CASES[name].rows(size)
    ]
