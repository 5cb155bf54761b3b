"""What an index costs on disk and in memory, and how long its operations take: `spdq bench index`.

The codes are drawn at random: nothing here depends on what they stand for. Times are medians of wall time; searches use
one thread.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq.errors import SpdqError
from spdq.index import Index
from spdq.quantizers.codebooks import Codebooks
from spdq_benchmarks.index_process import Beside

BATCH = 64
K = 10
REMOVED = 100_000
SHARERS = 4
DIM = 64
_ADDED_AT_ONCE = 1_000_000

Say = Callable[[str], None]


@dataclass(frozen=True)
class Figure:
    """One measured value, and what was asked for."""

    name: str
    value: float
    unit: str
    must: float | None = None
    at_most: bool = True

    @property
    def reached(self) -> bool | None:
        """Whether it is what it must be."""
        if self.must is None:
            return None
        return self.value <= self.must if self.at_most else self.value >= self.must


def index_figures(n_rows: int, repeats: int, seed: int, say: Say, folder: Path | None = None) -> list[Figure]:
    """Build an index of n_rows 64-bit codes in a temporary folder and measure it.

    Parameters
    ----------
    folder
        Where the temporary folder is made; None for the system's.

    Raises
    ------
    SpdqError
        A search with a filter found something else than the nearest of the rows it may find.
    """
    figures: list[Figure] = []

    def tell(*more: Figure) -> None:
        for one in more:
            figures.append(one)
            say(line(one))

    random = np.random.default_rng(seed)
    codebooks = Codebooks(random.normal(size=(8, 256, DIM // 8)).astype(np.float32), "product")
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        path = Path(temporary) / "index"
        tell(*_adding(path, codebooks, n_rows, repeats, random))
        tell(*_opening(path, repeats, random))
        tell(*_memory(path, n_rows, "ids that are row numbers", 1))
        tell(*_filtering(path, n_rows, repeats, random))
        tell(*_beside_readers(path, n_rows, repeats))
        tell(*_removing(path, n_rows, random))
        tell(*_texts(Path(temporary) / "texts", codebooks, n_rows // 10, random))
    return figures


def line(figure: Figure) -> str:
    """A figure in one line."""
    must = ""
    if figure.must is not None:
        must = f" (must be at {'most' if figure.at_most else 'least'} {figure.must:g}: "
        must += f"{'reached' if figure.reached else 'NOT reached'})"
    return f"{figure.name}: {figure.value:.4g} {figure.unit}{must}"


def _adding(
    path: Path, codebooks: Codebooks, n_rows: int, repeats: int, random: np.random.Generator
) -> Iterator[Figure]:
    with Index.create(path, codebooks) as index:
        rates = []
        for start in range(0, n_rows, _ADDED_AT_ONCE):
            ids = np.arange(start, min(start + _ADDED_AT_ONCE, n_rows))
            codes = random.integers(0, 256, (len(ids), 8), np.uint8)
            with _timed() as seconds:
                index.add_codes(codes, ids)
            rates.append(len(ids) / seconds[0])
        yield Figure("codes added at once", float(np.median(rates)), "a second", 1e6, at_most=False)
        with _timed() as seconds:
            index.compact()
        yield Figure(f"compacting {len(rates)} segments", seconds[0], "s")
        singly = []
        for number in range(10 * repeats):
            with _timed() as seconds:
                index.add_codes(codes[:1], [n_rows + number])
            singly.append(1000 * seconds[0])
        yield Figure("one item added", float(np.median(singly)), "ms", 5)
        index.remove(np.arange(n_rows, n_rows + len(singly)))
        index.compact()
        yield Figure("on disk", index.stats()["bytes"] / n_rows, "bytes an item")


def _opening(path: Path, repeats: int, random: np.random.Generator) -> Iterator[Figure]:
    query = random.normal(size=DIM)
    for verify, must in ((True, 50), (False, 5)):
        times, first = [], []
        for _ in range(repeats):
            with _timed() as seconds:
                index = Index.open(path, verify=verify)
            times.append(1000 * seconds[0])
            with _timed() as seconds:
                index.search(query, K, threads=1)
            first.append(1000 * seconds[0])
            index.close()
        how = "checksums verified" if verify else "checksums deferred"
        yield Figure(f"opening, {how}", float(np.median(times)), "ms", must)
        yield Figure(f"first search after it, {how}", float(np.median(first)), "ms")


def _memory(path: Path, n_rows: int, ids: str, must: float) -> Iterator[Figure]:
    """Of processes that have opened the index, its checksums verified, and searched it, at the same time."""
    beside = [Beside("open", path) for _ in range(SHARERS)]
    try:
        for one in beside:
            one.answer()
        grown = []
        for one in beside:
            one.ask()
            grown.append([int(number) for number in one.answer().split()])
    finally:
        for one in beside:
            one.stop()
    resident, share = np.mean(grown, axis=0) / n_rows
    yield Figure(f"memory beside the codes, {ids}", float(resident) - 8, "bytes an item", must)
    yield Figure(f"share of each of {SHARERS} processes in all memory, {ids}", float(share), "bytes an item")


def _filtering(path: Path, n_rows: int, repeats: int, random: np.random.Generator) -> Iterator[Figure]:
    queries = random.normal(size=(BATCH, DIM)).astype(np.float32)
    with Index.open(path) as index:
        for share, must in ((0.01, 0.25), (0.1, 0.5), (0.5, 1.05)):
            mask = random.random(n_rows) < share
            _check(index, queries[:2], mask, index.filter(mask=mask))
            # New each time: what the search makes of a filter is inside its time.
            ratios = [_raced(index, queries, index.filter(mask=mask)) for _ in range(repeats)]
            yield Figure(
                f"search of {BATCH} with one filter, {share:.0%} allowed / without",
                float(np.median(ratios)),
                "",
                must,
            )
        filters = [index.filter(mask=random.random(n_rows) < 0.5) for _ in range(BATCH)]
        ratios = [_raced(index, queries, filters) for _ in range(repeats)]
        yield Figure(
            f"search of {BATCH}, each with a filter of its own / without", float(np.median(ratios)), "", 1.1
        )


def _raced(index: Index, queries: NDArray[np.float32], chosen: Any) -> float:
    """Time with a filter over time without, one after the other."""
    with _timed() as plain:
        index.search(queries, K, threads=1)
    with _timed() as filtered:
        index.search(queries, K, filter=chosen, threads=1)
    return filtered[0] / plain[0]


def _check(index: Index, queries: NDArray[np.float32], mask: NDArray[np.bool_], kept: Any) -> None:
    """Compare with all rows' distances added up in NumPy. Raises SpdqError."""
    tables = index.codebooks.lookup_tables(queries, index.metric)
    codes = index.codes
    for query, table in enumerate(tables):
        distances = np.zeros(len(codes), np.float32)
        for m in range(codes.shape[1]):
            distances += table[m, codes[:, m]]
        distances[~mask] = np.inf
        nearest = np.argsort(distances, kind="stable")[:K]
        found = index.search(queries[query], K, filter=kept)
        if not (np.array_equal(found[1][0], nearest) and np.array_equal(found[0][0], distances[nearest])):
            raise SpdqError("wrong answer: a filtered search did not find the nearest rows")


def _beside_readers(path: Path, n_rows: int, repeats: int) -> Iterator[Figure]:
    """How long a writer waits while another process looks for changes and searches all the time."""
    with Index.open(path, writable=True) as index:
        codes = np.zeros((1, index.codebooks.n_codebooks), np.uint8)
        reader = Beside("read", path)
        try:
            reader.answer()
            times = []
            for number in range(10 * repeats):
                with _timed() as seconds:
                    index.add_codes(codes, [n_rows + number])
                times.append(1000 * seconds[0])
        finally:
            reader.stop()
        yield Figure("one item added beside a busy reader", float(np.median(times)), "ms")
        yield Figure("the longest of them", max(times), "ms")
        index.remove(np.arange(n_rows, n_rows + len(times)))


def _removing(path: Path, n_rows: int, random: np.random.Generator) -> Iterator[Figure]:
    ids = random.choice(n_rows, min(REMOVED, n_rows // 10), replace=False)
    with Index.open(path, writable=True) as index:
        with _timed() as seconds:
            index.remove(ids)
        yield Figure(f"removing {len(ids):,} ids", seconds[0], "s", 2)


def _texts(path: Path, codebooks: Codebooks, n_rows: int, random: np.random.Generator) -> Iterator[Figure]:
    ids = [f"item-{number:010}" for number in range(n_rows)]
    with Index.create(path, codebooks, ids="str") as index:
        with _timed() as seconds:
            index.add_codes(random.integers(0, 256, (n_rows, 8), np.uint8), ids)
        yield Figure("codes with string ids added at once", n_rows / seconds[0], "a second")
        chosen = [ids[row] for row in random.choice(n_rows, min(REMOVED, n_rows // 10), replace=False)]
        yield Figure("on disk, with string ids of 15 bytes", index.stats()["bytes"] / n_rows, "bytes an item")
        with _timed() as seconds:
            index.remove(chosen)
        yield Figure(f"removing {len(chosen):,} string ids", seconds[0], "s")
        index.compact()
    yield from _memory(path, n_rows - len(chosen), "string ids", 30)


@contextmanager
def _timed() -> Iterator[list[float]]:
    """Seconds of a block, in a list that has them when it is done."""
    spent: list[float] = []
    start = perf_counter()
    yield spent
    spent.append(perf_counter() - start)
