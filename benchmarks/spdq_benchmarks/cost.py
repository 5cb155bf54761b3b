"""What very many items would cost: a model of memory, machines and latency, from what is measured here.

An extrapolation, and named one: a shard is searched as fast for each of its items as here, on as many cores as its
machine has, a query at a time, and every shard has a machine of its own in every replica. The network is not in it: add
the round trip between your machines.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from spdq.distributed.cluster import ray_session
from spdq.distributed.sharded_index import ShardedIndex
from spdq.errors import UsageError
from spdq.index import Index
from spdq.quantizers.codebooks import Codebooks

DIM = 64
ID_BYTES = 8
SIZES = (2_000_000, 8_000_000)
"""Items of the two searches whose difference is the time an item takes; the larger ones lie outside the caches."""
SMALL = 1_000
REPEATS = 15
SHARDS = (1, 4)
ARRIVALS = 200_000

Say = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """What one query takes on this machine, in seconds.

    ``item``: of one thread, for each item; ``query``: beside the items; ``threads``: how many times faster all threads
    of this machine are than one; ``cores``: how many they are; ``call`` and ``shard``: what asking shards through Ray
    adds, once and for each of them.
    """

    item: float
    query: float
    threads: float
    cores: int
    call: float
    shard: float


@dataclass(frozen=True)
class Plan:
    """What is to be held and asked: items of some bits in shards and replicas, ``rate`` queries a second in all.

    ``cores`` and ``memory`` (bytes) are those of a machine.
    """

    items: int
    bits: int
    shards: int
    replicas: int
    rate: float
    cores: int
    memory: int


@dataclass(frozen=True)
class Cost:
    """What a plan comes to: bytes, machines, and seconds from question to answer.

    ``busy`` is the share of the time in which a machine is searching; at 1 or more questions pile up without end, and
    ``median`` and ``p99`` are None. ``alone`` is the time of a query that waits for no other.
    """

    shard_bytes: int
    total_bytes: int
    machines: int
    alone: float
    busy: float
    median: float | None
    p99: float | None
    enough_replicas: int
    """The fewest replicas that are busy for at most 70 % of the time."""


def estimate(plan: Plan, measured: Measured, seed: int = 0) -> Cost:
    """The cost of a plan. Raises UsageError where a shard does not fit into a machine."""
    item_bytes = plan.bits // 8 + ID_BYTES
    largest = math.ceil(plan.items / plan.shards)
    if largest * item_bytes > plan.memory:
        fewest = math.ceil(plan.items * item_bytes / plan.memory)
        raise UsageError(
            f"a shard of {largest:,} items needs {largest * item_bytes / 2**30:.1f} GiB, a machine has "
            f"{plan.memory / 2**30:.1f}: use {fewest} shards or more"
        )
    together = 1 + (plan.cores - 1) * (measured.threads - 1) / max(measured.cores - 1, 1)
    scan = measured.query + largest * measured.item / together
    asking = measured.call + plan.shards * measured.shard
    busy = plan.rate / plan.replicas * scan
    alone = asking + scan
    waiting = queue(busy, scan, seed) if busy < 1 else None
    return Cost(
        shard_bytes=largest * item_bytes,
        total_bytes=plan.items * item_bytes * plan.replicas,
        machines=plan.shards * plan.replicas,
        alone=alone,
        busy=busy,
        median=None if waiting is None else alone + float(np.quantile(waiting, 0.5)),
        p99=None if waiting is None else alone + float(np.quantile(waiting, 0.99)),
        enough_replicas=math.ceil(plan.rate * scan / 0.7),
    )


def queue(busy: float, service: float, seed: int) -> NDArray[np.float64]:
    """Seconds (n,) that questions wait which come at random and take ``service`` seconds each, one after the other.

    ``busy``, below 1, is the share of the time that takes (an M/D/1 queue, by Lindley's recursion).
    """
    gaps = np.random.default_rng(seed).exponential(service / max(busy, 1e-9), ARRIVALS)
    # w[n + 1] = max(0, w[n] + service - gap[n]), in closed form: a walk above its lowest point so far.
    steps = np.cumsum(service - gaps)
    return np.asarray(steps - np.minimum(np.minimum.accumulate(steps), 0))


def machine_memory() -> int:
    """Bytes of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def measure(bits: int, k: int, say: Say, sizes: tuple[int, int] = SIZES, repeats: int = REPEATS) -> Measured:
    """Search made codes of ``bits`` on this machine, alone and through Ray; medians of wall time.

    Raises MissingExtraError without Ray.
    """
    random = np.random.default_rng(0)
    shape = (bits // 8, 256, DIM // (bits // 8))
    codebooks = Codebooks(random.normal(size=shape).astype(np.float32), "product")
    queries = list(random.normal(size=(REPEATS, 1, DIM)).astype(np.float32))
    cores = len(os.sched_getaffinity(0))
    say(f"searching {SIZES[0]:,} and {SIZES[1]:,} made codes of {bits} bits")
    small, _ = _searching(codebooks, SIZES[0], queries, k, random)
    large, together = _searching(codebooks, SIZES[1], queries, k, random)
    item = max(large - small, 0.0) / (SIZES[1] - SIZES[0])
    say(f"asking {SHARDS[0]} and {SHARDS[1]} shards of {SMALL:,} items through Ray")
    call, shard = _asking(codebooks, queries, k, random)
    return Measured(item, max(small - SIZES[0] * item, 0.0), large / together, cores, call, shard)


def _searching(
    codebooks: Codebooks,
    n_items: int,
    queries: list[NDArray[np.float32]],
    k: int,
    random: np.random.Generator,
) -> tuple[float, float]:
    """Seconds of a query among items, on one thread and on all."""
    with Index(codebooks) as index:
        index.add_codes(random.integers(0, 256, (n_items, codebooks.n_codebooks), np.uint8))
        return (
            _median(lambda query: index.search(query, k, threads=1), queries),
            _median(lambda query: index.search(query, k), queries),
        )


def _asking(
    codebooks: Codebooks, queries: list[NDArray[np.float32]], k: int, random: np.random.Generator
) -> tuple[float, float]:
    """Seconds that asking a worker a shard adds to a search: once, and for each shard."""
    added = []
    with tempfile.TemporaryDirectory() as folder, ray_session(n_cpus=max(SHARDS)):
        for n_shards in SHARDS:
            with ShardedIndex.create(Path(folder) / str(n_shards), codebooks, n_shards) as sharded:
                for _ in range(n_shards):
                    sharded.add_codes(random.integers(0, 256, (SMALL, codebooks.n_codebooks), np.uint8))
                with Index(codebooks) as plain:
                    plain.add_codes(sharded.codes)
                    alone = _median(lambda query: plain.search(query, k, threads=1), queries)
                asked = _median(lambda query: sharded.search(query, k, threads=1), queries)
                added.append(max(asked - alone, 0.0))
    shard = max(added[1] - added[0], 0.0) / (SHARDS[1] - SHARDS[0])
    return max(added[0] - SHARDS[0] * shard, 0.0), shard


def _median(search: Callable[[NDArray[np.float32]], object], queries: list[NDArray[np.float32]]) -> float:
    seconds = []
    for query in [queries[0], *queries]:
        start = perf_counter()
        search(query)
        seconds.append(perf_counter() - start)
    return statistics.median(seconds[1:])
