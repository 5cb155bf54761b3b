"""Race our coarse index against Faiss's at equal recall: ``spdq bench speed --ivf``.

Both sides search 4, 8, ... 256 lists in turns, batch and singly, one thread each, by CPU time. The time a recall takes
is interpolated between neighbouring numbers of lists (its logarithm over recall); ours is the lower of codes with and
without residuals.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spdq.errors import MissingExtraError
from spdq_benchmarks.speed import peers
from spdq_benchmarks.speed.checks import check_equal
from spdq_benchmarks.speed.data import DIM, CodeKind
from spdq_benchmarks.speed.listed import Collection, Listed, Ours, Peer
from spdq_benchmarks.speed.machine import load_average, machine_facts
from spdq_benchmarks.speed.rows import Target, short
from spdq_kernels import encode_product, lists
from spdq_kernels.lists import reference

K = 100
CHECKED = 2
"""Queries whose answer is compared with the reference's."""
EIGHT, NIBBLES = CodeKind(8, 8), CodeKind(16, 4)
BUILD_THREADS = 2


@dataclass(frozen=True)
class ListSettings:
    """How much is measured."""

    n_rows: tuple[int, ...] = (1_000_000, 10_000_000)
    probes: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256)
    batch: int = 200
    singles: int = 40
    repeats: int = 5
    seed: int = 0


QUICK_LISTS = ListSettings(n_rows=(20_000,), probes=(2, 8, 32), batch=20, singles=4, repeats=1)
"""Shows that everything runs and every answer is right; says nothing about speed."""


class Contest(NamedTuple):
    """A peer and the recalls at which it is met; ``single`` is a fixed number of lists, one query at a time."""

    kind: CodeKind
    residual: bool
    recalls: dict[int, dict[float, Target]]
    single: dict[int, Target]


CONTESTS = (
    Contest(
        *(EIGHT, True, {1_000_000: {0.90: Target(4, 7.5)}, 10_000_000: {0.95: Target(5, 9.5)}}),
        {1_000_000: Target(2, 3), 10_000_000: Target(3, 4)},
    ),
    Contest(
        *(NIBBLES, False),
        {1_000_000: {0.63: Target(1.0, 1.3), 0.86: Target(1.2, 1.5), 0.93: Target(1.4, 1.8)}},
        {},
    ),
    Contest(
        *(NIBBLES, True),
        {1_000_000: {0.90: Target(1.4, 1.9), 0.95: Target(1.8, 2.6)}, 10_000_000: {0.93: Target(1.7, 2.3)}},
        {},
    ),
)
BUILD = Target(1, 1.5)
SINGLE_PROBES = 64
WASTE = Target(0.04, 0.02, at_most=True)


@dataclass(frozen=True)
class ListResult:
    """One figure: the time of ``above`` over that of ``below``; or a share, of padding."""

    name: str
    n_rows: int
    value: float
    above: str
    below: str
    above_seconds: float
    below_seconds: float
    must: float | None
    aim: float | None
    reached: bool | None


@dataclass(frozen=True)
class Curve:
    """What a search of each number of lists finds and takes."""

    name: str
    probes: tuple[int, ...]
    recalls: tuple[float, ...]
    batch_seconds: tuple[float, ...]
    """Of one query in a batch, CPU time."""
    single_seconds: tuple[float, ...]

    def seconds_at(self, recall: float) -> float:
        """Batch seconds a query at a recall, +inf where it is not reached."""
        if not self.recalls[0] <= recall <= self.recalls[-1]:
            return float("inf")
        return float(np.exp(np.interp(recall, self.recalls, np.log(self.batch_seconds))))


@dataclass(frozen=True)
class ListReport:
    """All figures of the coarse index, and what they depend on."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    load_average: tuple[float, float]
    curves: dict[str, list[Curve]]
    """By number of rows."""
    results: tuple[ListResult, ...]

    def to_json(self) -> dict[str, Any]:
        """For ``json.dump``."""
        return dataclasses.asdict(self)


def benchmark_lists(settings: ListSettings, say: Callable[[str], None] | None = None) -> ListReport:
    """Measure all contests at each size; answers are checked before they are timed.

    Raises
    ------
    MissingExtraError
        Faiss is not installed.
    WrongAnswerError
        A search of ours did not find the nearest rows of its lists.
    """
    if "faiss" in peers.absent_peers():
        raise MissingExtraError('not here: faiss, which comes with pip install "spdq[faiss]"')
    say = say or (lambda line: None)
    load = load_average()
    curves: dict[str, list[Curve]] = {}
    results: list[ListResult] = []
    for n_rows in settings.n_rows:
        n_lists = lists_for(n_rows)
        collection = Collection(
            settings.seed, n_rows, n_lists, [EIGHT, NIBBLES], settings.batch * settings.repeats
        )
        made = curves[str(n_rows)] = []
        results.append(_build(collection))
        say(line(results[-1]))
        for kind in (EIGHT, NIBBLES):
            ours = [Ours(collection, collection.listed[kind, residual]) for residual in (False, True)]
            contests = [contest for contest in CONTESTS if contest.kind == kind]
            theirs = [Peer(collection, collection.listed[kind, contest.residual]) for contest in contests]
            found = _curves(collection, [*ours, *theirs], settings)
            made += found
            figures = [_waste(collection, ours[0])]
            for contest, curve in zip(contests, found[len(ours) :], strict=True):
                figures += _figures(n_rows, contest, found[: len(ours)], curve)
            results += figures
            for result in figures:
                say(line(result))
    facts = machine_facts()
    return ListReport(facts, dataclasses.asdict(settings), (load, load_average()), curves, tuple(results))


def lists_for(n_rows: int) -> int:
    """Lists: the power of two next to the square root of the rows."""
    return int(2 ** round(np.log2(np.sqrt(n_rows)) + 0.1))


def line(result: ListResult) -> str:
    """One figure in one line."""
    must = "" if result.must is None else f" (must be {result.must:g}, {'yes' if result.reached else 'NO'})"
    return f"{result.value:.3g}{must} {result.name}"


def list_table(report: ListReport) -> str:
    """Markdown: the figures, then the curves."""
    machine = report.machine
    rows = [
        f"- {machine['cpu']}, {machine['cores']} cores, kernels at {machine['simd_level']}; "
        f"load average {report.load_average[0]} at the start, {report.load_average[1]} at the end",
        f"- recall10@{K} against the nearest vectors; medians of {report.settings['repeats']} turns, CPU time",
        "",
        "| figure | must | reached | row | above | below |",
        "|---|---|---|---|---|---|",
    ]
    for one in report.results:
        reached = {True: "yes", False: "**no**", None: ""}[one.reached]
        sides = [
            f"{name} {seconds * 1e6:.1f} us" if name else ""
            for name, seconds in ((one.above, one.above_seconds), (one.below, one.below_seconds))
        ]
        must = "" if one.must is None else f"{one.must:g}"
        rows.append(f"| {one.value:.3g} | {must} | {reached} | {one.name} | {' | '.join(sides)} |")
    rows += ["", "| rows | search | lists | recall | us, batch | us, single |", "|---|---|---|---|---|---|"]
    for size, curves in report.curves.items():
        for curve in curves:
            columns = (curve.probes, curve.recalls, curve.batch_seconds, curve.single_seconds)
            for n_probe, recall, batch, single in zip(*columns, strict=True):
                figures = f"{n_probe} | {recall:.4f} | {batch * 1e6:.1f} | {single * 1e6:.1f}"
                rows.append(f"| {short(int(size))} | {curve.name} | {figures} |")
    return "\n".join(rows)


def _curves(collection: Collection, sides: list[Any], settings: ListSettings) -> list[Curve]:
    found: list[list[tuple[float, float, float]]] = [[] for _ in sides]
    probes = tuple(n for n in settings.probes if n <= collection.n_lists)
    for n_probe in probes:
        searches = [side.search(n_probe) for side in sides]
        for place, (side, search) in enumerate(zip(sides, searches, strict=True)):
            answer = search(collection.queries, K)
            if isinstance(side, Ours):
                expected = reference.scan(**side.arguments(collection.queries[:CHECKED], n_probe), k=K)
                check_equal(side.name, answer[0][:CHECKED], answer[1][:CHECKED], *expected)
            found[place].append((collection.recall(answer[1]), 0.0, 0.0))
        times = _turns(searches, collection.queries, settings)
        for place in range(len(sides)):
            batch, single = np.median(times[place], axis=0)
            found[place][-1] = (found[place][-1][0], float(batch), float(single))
    return [
        Curve(side.name, probes, *(tuple(column) for column in zip(*figures, strict=True)))
        for side, figures in zip(sides, found, strict=True)
    ]


def _turns(searches: list[peers.Search], queries: Any, settings: ListSettings) -> NDArray[np.float64]:
    """(sides, turns, 2): seconds a query, in a batch and alone; the sides take turns."""
    times = np.empty((len(searches), settings.repeats, 2))
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(settings.repeats):
            some = queries[turn * settings.batch : (turn + 1) * settings.batch]
            for place in np.roll(np.arange(len(searches)), turn):
                search = searches[place]
                start = process_time()
                search(some, K)
                middle = process_time()
                for i in range(settings.singles):
                    search(some[i : i + 1], K)
                stop = process_time()
                times[place, turn] = (middle - start) / len(some), (stop - middle) / settings.singles
    finally:
        if collecting:
            gc.enable()
    return times


def _figures(n_rows: int, contest: Contest, ours: list[Curve], peer: Curve) -> list[ListResult]:
    results = []
    recalls = contest.recalls.get(n_rows, {})
    for recall, target in recalls.items():
        best = min(ours, key=lambda curve: curve.seconds_at(recall))
        above, below = peer.seconds_at(recall), best.seconds_at(recall)
        name = f"{peer.name}, {short(n_rows)}, batch, recall {recall:.2f}"
        results.append(_judged(name, n_rows, above / below, (peer.name, best.name), (above, below), target))
    if n_rows in contest.single and SINGLE_PROBES in peer.probes:
        place = peer.probes.index(SINGLE_PROBES)
        # Ours that find as much.
        same = next(curve for curve in ours if curve.name.endswith("residual") == contest.residual)
        above, below = peer.single_seconds[place], same.single_seconds[place]
        name = f"{peer.name}, {short(n_rows)}, single, {SINGLE_PROBES} lists"
        sides = (peer.name, same.name)
        results.append(_judged(name, n_rows, above / below, sides, (above, below), contest.single[n_rows]))
    return results


def _waste(collection: Collection, ours: Ours) -> ListResult:
    share = ours.lists.blocks.shape[0] * lists.LIST_ROWS / max(collection.n_rows, 1) - 1
    name = f"padding of {ours.name}, {short(collection.n_rows)}, {collection.n_lists} lists"
    target = WASTE if collection.n_rows >= 1_000_000 else None
    return _judged(name, collection.n_rows, share, ("", ""), (0.0, 0.0), target)


def _build(collection: Collection) -> ListResult:
    """Finding lists and encoding residuals of some vectors on two threads, against what Faiss takes to add them."""
    vectors, one = collection.sample, collection.listed[EIGHT, True]
    peer = Peer(collection, Listed(EIGHT, True, one.words, 0))
    library = peers.faiss()
    encode_product(vectors[:1], one.words)
    start = perf_counter()
    which = lists.assign(vectors, collection.centroids, BUILD_THREADS)
    encode_product(vectors - collection.centres[which], one.words, BUILD_THREADS)
    ours = perf_counter() - start
    library.omp_set_num_threads(BUILD_THREADS)
    start = perf_counter()
    peer.index.add(np.ascontiguousarray(vectors, np.float32).reshape(-1, DIM))
    theirs = perf_counter() - start
    library.omp_set_num_threads(1)
    name = f"building, {short(collection.n_rows)}, {collection.n_lists} lists, {BUILD_THREADS} threads, wall time"
    target = BUILD if collection.n_rows >= 10_000_000 else None
    seconds = theirs / len(vectors), ours / len(vectors)
    return _judged(
        name, collection.n_rows, theirs / ours, ("faiss IndexIVFPQ 8x8", "spdq 8x8"), seconds, target
    )


def _judged(
    name: str,
    n_rows: int,
    value: float,
    sides: tuple[str, str],
    seconds: tuple[float, float],
    target: Target | None,
) -> ListResult:
    must, aim = (target.must, target.aim) if target else (None, None)
    reached = target.reached(value) if target else None
    return ListResult(name, n_rows, value, *sides, *seconds, must, aim, reached)
