"""Race our searches against those of other libraries, and against themselves, in one process.

This process loads neither torch nor scikit-learn: their threads would share the cores with what is timed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from spdq.errors import MissingExtraError
from spdq_benchmarks.speed import lower_level, peers
from spdq_benchmarks.speed.bandwidth import read_bandwidth
from spdq_benchmarks.speed.cases import Ring
from spdq_benchmarks.speed.machine import load_average, machine_facts
from spdq_benchmarks.speed.results import Result, Settings, SpeedReport
from spdq_benchmarks.speed.rows import BITS, CASES, NIBBLES, TARGETS, Row, plan
from spdq_benchmarks.speed.search import Collections
from spdq_benchmarks.speed.table import line
from spdq_benchmarks.speed.timing import race

Say = Callable[[str], None]

LIBRARY_OF = {"IndexIVFPQFastScan": "faiss", "ScaNN": "scann", "usearch": "usearch"}
"""What a row of case "peers" needs, by the row's detail."""


def benchmark_speed(settings: Settings, say: Say | None = None) -> SpeedReport:
    """Measure every row of the cases; each answer is checked before it is timed.

    Parameters
    ----------
    say
        Called with a line of text for each row measured.

    Raises
    ------
    UsageError
        An unknown case, or no sizes.
    MissingExtraError
        Every row needs a library that is not installed.
    WrongAnswerError
        Some search did not find the nearest rows.
    """
    rows = plan(settings.n_rows, settings.cases)
    machine, load = machine_facts(), load_average()
    absent = absent_needs(machine["simd_flags"])
    present = [row for row in rows if not needs(row) & set(absent)]
    if not present:
        needed = sorted({need for row in rows for need in needs(row)} & set(absent))
        raise MissingExtraError(f'not here: {", ".join(needed)}; faiss comes with pip install "spdq[faiss]"')
    bandwidth = read_bandwidth(settings.repeats)
    results = measure(settings, present, say or (lambda line: None))
    return SpeedReport(
        machine=machine,
        settings=dataclasses.asdict(settings),
        read_bandwidth=bandwidth,
        load_average=(load, load_average()),
        absent=tuple(absent),
        results=tuple(results),
    )


def measure(settings: Settings, rows: Sequence[Row], say: Say) -> list[Result]:
    """Results of rows; those of a forced SIMD level come last, from a process of their own."""
    from spdq_kernels.cpu.simd import LEVEL

    forced = [row for row in rows if row.case == lower_level.CASE and LEVEL != lower_level.LEVEL]
    here = [row for row in rows if row not in forced]
    results = []
    if here:
        ring = Ring(_collections(settings, here), settings.sizes, settings.seed)
        for row in here:
            results.append(_result(ring, row, settings.repeats, LEVEL))
            say(line(results[-1]))
    if forced:
        for result in lower_level.elsewhere(settings, forced):
            results.append(result)
            say(line(result))
    return results


def absent_needs(simd_flags: Sequence[str]) -> list[str]:
    """The libraries that are not installed, and the SIMD level that this processor cannot be forced to."""
    levels = [] if lower_level.LEVEL in simd_flags else [lower_level.LEVEL]
    return peers.absent_peers() + levels


def needs(row: Row) -> set[str]:
    """The libraries and the SIMD level without which a row cannot be measured."""
    found = {"faiss"} if CASES[row.case].needs_faiss else set()
    if row.case == "peers" and row.detail in LIBRARY_OF:
        found.add(LIBRARY_OF[row.detail])
    if row.case == lower_level.CASE:
        found.add(lower_level.LEVEL)
    return found


def _collections(settings: Settings, rows: Sequence[Row]) -> Collections:
    codes = {row.code for row in rows}
    if any(row.case == "equal-bytes" for row in rows):
        codes.add(NIBBLES.name)
    sizes = settings.sizes
    return Collections(
        settings.seed,
        sorted(codes - {BITS}),
        with_bits=BITS in codes,
        n_rows=max(row.n_rows for row in rows),
        n_queries=max(sizes.batch, sizes.large_batch, sizes.singles),
    )


def _result(ring: Ring, row: Row, repeats: int, level: str) -> Result:
    duel = ring.duel(row)
    raced = race(duel, repeats)
    ratios = raced.ratios(duel.clock)
    above, below = np.median(raced.cpu if duel.clock == "cpu" else raced.wall, axis=1)
    ratio, target = float(np.median(ratios)), TARGETS.get(row.name)
    return Result(
        name=row.name,
        case=row.case,
        code=row.code,
        n_rows=row.n_rows,
        queries=row.queries,
        n_queries=ring.n_queries(row),
        k=row.k,
        above=duel.above.name,
        below=duel.below.name,
        ratio=ratio,
        lowest=float(ratios.min()),
        highest=float(ratios.max()),
        wall_ratio=float(np.median(raced.ratios("wall"))),
        clock=duel.clock,
        unit=duel.unit,
        above_seconds=float(above),
        below_seconds=float(below),
        turns=len(ratios),
        threads=duel.threads,
        simd_level=level,
        agreement=duel.agreement,
        must=target.must if target else None,
        aim=target.aim if target else None,
        at_most=bool(target and target.at_most),
        reached=target.reached(ratio) if target else None,
    )
