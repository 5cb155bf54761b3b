"""What searching shards in workers of Ray costs beside one index of the same items: `spdq bench sharded`.

Codes are drawn at random, ids are random numbers. Plain and sharded searches take turns and scan with as many threads.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq.distributed.scan_workers import ScanWorkers
from spdq.distributed.shard_folder import shard_index
from spdq.distributed.sharded_index import ShardedIndex
from spdq.errors import SpdqError
from spdq.index import Index
from spdq.quantizers.codebooks import Codebooks
from spdq_benchmarks.index_figures import Figure, line

BATCH = 64
KS = (10, 100)
MOST_MS = 5
"""What a sharded search may take longer than a plain one."""
_DIM = 64
_ADDED_AT_ONCE = 4_000_000
_GAP = 1000
"""Ids lie at most so far apart."""

Say = Callable[[str], None]


def sharded_figures(
    n_items: int, n_shards: int, repeats: int, seed: int, say: Say, folder: Path | None = None
) -> list[Figure]:
    """Build an index of n_items 64-bit codes, cut it into shards, and measure both in a temporary folder.

    Parameters
    ----------
    folder
        Where the temporary folder is made; None for the system's.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    SpdqError
        The shards gave another answer than the index.
    """
    figures: list[Figure] = []

    def tell(found: Iterator[Figure]) -> None:
        for one in found:
            figures.append(one)
            say(line(one))

    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        one, shards = Path(temporary) / "one", Path(temporary) / "shards"
        _build(one, n_items, random)
        started = perf_counter()
        shard_index(one, shards, n_shards)
        tell(iter([Figure(f"cutting into {n_shards} shards", perf_counter() - started, "s")]))
        started = perf_counter()
        with ScanWorkers(most=n_shards) as workers:
            tell(iter([Figure(f"starting Ray and {workers.count} workers", perf_counter() - started, "s")]))
            before = _memory()
            started = perf_counter()
            with ShardedIndex.open(shards, workers=workers) as sharded:
                tell(iter([Figure("opening the shards, all verified", perf_counter() - started, "s")]))
                queries = random.normal(size=(BATCH, _DIM)).astype(np.float32)
                sharded.search(queries, max(KS))
                after = _memory()
                tell(_memory_figures(before, after, n_items))
                with Index.open(one) as plain:
                    _check(plain, sharded, queries)
                    tell(_races(plain, sharded, queries, workers.count * workers.threads, repeats))
    return figures


def _build(path: Path, n_items: int, random: np.random.Generator) -> None:
    codebooks = Codebooks(random.normal(size=(8, 256, _DIM // 8)).astype(np.float32), "product")
    last = 0
    with Index.create(path, codebooks) as index:
        for start in range(0, n_items, _ADDED_AT_ONCE):
            count = min(_ADDED_AT_ONCE, n_items - start)
            ids = last + np.cumsum(random.integers(1, _GAP, count))
            last = int(ids[-1])
            index.add_codes(random.integers(0, 256, (count, 8), np.uint8), ids)
        index.compact()


def _check(plain: Index, sharded: ShardedIndex, queries: NDArray[np.float32]) -> None:
    """Raise SpdqError unless both give the same answers, to the bit."""
    few = queries[:4]
    radius = float(plain.search(few, 50)[0].max())
    half = plain.ids[::2]
    pairs: list[tuple[Any, Any]] = [
        (plain.search(queries, k), sharded.search(queries, k)) for k in (1, *KS, 2000)
    ]
    pairs.append((plain.range_search(few, radius), sharded.range_search(few, radius)))
    pairs.append(
        (plain.search(few, 50, plain.filter(allow=half)), sharded.search(few, 50, sharded.filter(allow=half)))
    )
    for one, other in pairs:
        if any(a.tobytes() != b.tobytes() for a, b in zip(one, other, strict=True)):
            raise SpdqError("wrong answer: the shards did not find what the index finds")


def _races(
    plain: Index, sharded: ShardedIndex, queries: NDArray[np.float32], threads: int, repeats: int
) -> Iterator[Figure]:
    """Milliseconds of both sides, turn by turn; who begins changes."""
    for k in KS:
        sides = (
            partial(plain.search, queries, k, threads=threads),
            partial(sharded.search, queries, k),
        )
        spent = np.empty((2, repeats))
        for side in sides:
            side()
        for turn in range(repeats):
            for place in (0, 1) if turn % 2 == 0 else (1, 0):
                started = perf_counter()
                sides[place]()
                spent[place, turn] = 1000 * (perf_counter() - started)
        what = f"search of {BATCH}, k = {k}"
        yield Figure(f"{what}, one index, {threads} threads", float(np.median(spent[0])), "ms")
        yield Figure(f"{what}, shards", float(np.median(spent[1])), "ms")
        yield Figure(f"{what}, shards longer by", float(np.median(spent[1] - spent[0])), "ms", MOST_MS)


def _memory_figures(before: dict[int, int], after: dict[int, int], n_items: int) -> Iterator[Figure]:
    """Proportional set sizes: of a page that several processes share each has its part."""
    here = os.getpid()
    grown = {process: size - before.get(process, 0) for process, size in after.items()}
    ours = grown.pop(here)
    yield Figure("memory, all processes together", (ours + sum(grown.values())) / n_items, "bytes an item")
    yield Figure("of it in this process", ours / n_items, "bytes an item")
    rest = sum(size for process, size in before.items() if process != here)
    yield Figure("Ray and its workers before shards are opened", rest / 1e6, "MB")


def _memory() -> dict[int, int]:
    """Pss in bytes of this process and all below it, as Linux counts them."""
    sizes, waiting = {}, [os.getpid()]
    while waiting:
        process = waiting.pop()
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            for task in Path(f"/proc/{process}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
        sizes[process] = next(int(one.split()[1]) * 1024 for one in lines if one.startswith("Pss:"))
    return sizes
