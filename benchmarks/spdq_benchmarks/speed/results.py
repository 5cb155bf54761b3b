"""What a speed benchmark is asked for and what it answers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from spdq_benchmarks.speed.rows import CASES, SIZES
from spdq_benchmarks.speed.timing import Clock, Unit


@dataclass(frozen=True)
class TurnSizes:
    """How much work a turn does."""

    batch: int = 128
    large_batch: int = 64
    """Queries of a batch over more than a million rows."""
    singles: int = 16
    """Single queries, one after another."""
    cold_bytes: int = 1 << 30
    """Written between cold queries: more than any cache holds."""


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    n_rows: tuple[int, ...] = SIZES
    cases: tuple[str, ...] = tuple(CASES)
    repeats: int = 7
    sizes: TurnSizes = TurnSizes()
    seed: int = 0


QUICK = Settings(
    n_rows=(20_000,),
    repeats=2,
    sizes=TurnSizes(batch=8, large_batch=8, singles=4, cold_bytes=1 << 24),
)
"""Shows that everything runs and every answer is right; says nothing about speed."""


@dataclass(frozen=True)
class Result:
    """One row measured: the time of ``above`` over the time of ``below``."""

    name: str
    case: str
    code: str
    n_rows: int
    queries: str
    n_queries: int
    """Queries of one call."""
    k: int
    above: str
    below: str
    ratio: float
    """Median over turns; lowest and highest stand beside it."""
    lowest: float
    highest: float
    wall_ratio: float
    clock: Clock
    unit: Unit
    """What the seconds are for."""
    above_seconds: float
    below_seconds: float
    turns: int
    threads: int
    """Most that either side uses."""
    simd_level: str
    """Of our kernels."""
    agreement: float | None
    """Share of the exact answer in that of a peer which is not exact."""
    must: float | None
    aim: float | None
    at_most: bool
    """Whether the ratio must not exceed ``must`` rather than reach it."""
    reached: bool | None


@dataclass(frozen=True)
class SpeedReport:
    """All results, and what they depend on."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    read_bandwidth: dict[str, float]
    """Bytes a second that one thread reads, by level."""
    load_average: tuple[float, float]
    """At the start and at the end."""
    absent: tuple[str, ...]
    """Peers and SIMD levels that are not there; their rows are missing."""
    results: tuple[Result, ...]

    def to_json(self) -> dict[str, Any]:
        """For ``json.dump``."""
        return dataclasses.asdict(self)
