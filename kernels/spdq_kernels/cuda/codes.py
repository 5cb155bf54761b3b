"""Codes that stay on the device: checks, launches, and what comes back from them."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq_kernels import contract
from spdq_kernels.contract import TABLE_WORDS
from spdq_kernels.cuda import kernels
from spdq_kernels.cuda.device import compiled, cuda, multiprocessors
from spdq_kernels.cuda.kernels import ALL_ROWS, NO_ROWS, NOTHING, THREAD_ROWS
from spdq_kernels.row_filter import Allowed, RowFilter, row_filters

THREADS = 256
"""Threads of a team: a step of it is 16 blocks."""

TEAM_QUERIES = 4
"""Queries of a team, where there is more than one: what one look-up of 16 bytes serves."""

TEAMS = 2
"""Teams that a multiprocessor has registers for at once."""

PASS_KEYS = 4096
"""Most keys that one pass over the codes collects; a larger k takes more passes."""

LEAST_CAPACITY = 512
"""Keys that a list has room for, or twice those that are asked for."""

LAUNCH_QUERIES = 1024
"""Most queries of one launch."""

MASK_BYTES = 1 << 30
"""Device memory for the filters of one launch, where each query has its own."""


class CudaCodes:
    """Codes in the memory of the current CUDA device, to be scanned there.

    Parameters
    ----------
    blocks
        (ceil(n_rows / 256), bytes, 256) uint8: ``pack_codes`` of the codes. Copied to the device.
    n_rows
        Rows that are codes, not padding.

    Raises
    ------
    TypeError, ValueError
        Not such blocks.
    RuntimeError
        There is no CUDA device.
    """

    def __init__(self, blocks: NDArray[np.uint8], n_rows: int) -> None:
        contract.blocks(blocks, n_rows)
        if not cuda.is_available():
            raise RuntimeError(
                'no CUDA device, driver or NVVM (pip install "spdq[cuda]") was found: '
                "use spdq_kernels.scan, which gives the same on the CPU"
            )
        self.n_rows = int(n_rows)
        self.n_bytes: int = blocks.shape[1]
        self._blocks = cuda.to_device(blocks.reshape(-1)) if n_rows else None

    def scan(
        self, tables: NDArray[np.float32], k: int, *, allowed: Allowed = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return what ``spdq_kernels.scan`` returns for these codes, bit for bit.

        tables is (nq, bytes, 256) float32, or (nq, 2 * bytes or one less, 16) where codes are of 4 bits.
        """
        contract.tables(tables, self.n_bytes)
        contract.integer(k, "k", 1)
        filters = row_filters(allowed, len(tables), self.n_rows)
        counts = [self.n_rows if one is None else one.count for one in filters]
        most = allowed.count if isinstance(allowed, RowFilter) else max(counts, default=self.n_rows)
        k = min(int(k), most)
        keys = np.empty((len(tables), k), np.uint64)
        if k:
            at_once = self._queries_at_once(filters)
            for start in range(0, len(tables), at_once):
                some = slice(start, start + at_once)
                self._nearest(tables[some], filters[some], keys[some])
        return _distances_and_rows(keys)

    def _queries_at_once(self, filters: Sequence[RowFilter | None]) -> int:
        if len({id(one) for one in filters} - {id(None)}) <= 1:
            return LAUNCH_QUERIES
        fitting = MASK_BYTES * 8 // self.n_rows // TEAM_QUERIES * TEAM_QUERIES
        return max(TEAM_QUERIES, min(LAUNCH_QUERIES, fitting))

    def _nearest(
        self, tables: NDArray[np.float32], filters: Sequence[RowFilter | None], keys: NDArray[np.uint64]
    ) -> None:
        """Fill keys (nq, k) with the smallest of each query in order."""
        n_queries, k = keys.shape
        team_queries = 1 if n_queries == 1 else TEAM_QUERIES
        groups = -(-n_queries // team_queries)
        masks, mask_of = _masks(filters, groups * team_queries)
        on_device = cuda.to_device(_padded(tables, groups * team_queries, self.n_bytes))
        masks, mask_of = cuda.to_device(masks), cuda.to_device(mask_of)

        steps = -(-self.n_rows // (THREADS * THREAD_ROWS))
        stride = _stride(steps)
        parts = min(steps, -(-TEAMS * multiprocessors() // groups))
        capacity = max(LEAST_CAPACITY, 2 * min(k, PASS_KEYS))
        lists = cuda.device_array((groups * parts * team_queries, capacity), np.uint64)
        merged = cuda.device_array((n_queries, capacity), np.uint64)
        lowest = np.zeros(groups * team_queries, np.uint64)
        for start in range(0, k, PASS_KEYS):
            width = min(k - start, PASS_KEYS)
            nearest = cuda.device_array((n_queries, width), np.uint64)
            _launch(
                _scan_kernel(team_queries, tables.shape[2]),
                (parts, groups),
                self._blocks,
                self.n_bytes,
                self.n_rows,
                stride,
                on_device,
                masks,
                mask_of,
                cuda.to_device(lowest),
                width,
                lists,
            )
            _launch(_merge_kernel(), (n_queries, 1), lists, team_queries, parts, width, merged, nearest)
            keys[:, start : start + width] = nearest.copy_to_host()
            last = keys[:, start + width - 1]
            lowest[:n_queries] = np.where(last == NOTHING, NOTHING, last + np.uint64(1))


@functools.cache
def _scan_kernel(team_queries: int, columns: int) -> Any:
    return compiled(kernels.scan_function(team_queries, columns), kernels.SCAN_TYPES, THREADS, TEAMS)


@functools.cache
def _merge_kernel() -> Any:
    return compiled(kernels.merge, kernels.MERGE_TYPES, THREADS, TEAMS)


def _launch(kernel: Any, grid: tuple[int, int], *arguments: Any) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Grid size")  # numba-cuda warns of few teams: little data needs few
        configured = kernel[grid, THREADS]
    configured(*arguments)


def _padded(tables: NDArray[np.float32], n_queries: int, n_bytes: int) -> NDArray[np.float32]:
    """Return (n_queries, entries) with zeros for missing queries, and for the missing table of an odd 4-bit code:
    what it adds changes no sum, which starts at +0 and hence never is -0."""
    columns = tables.shape[2]
    entries = columns * (n_bytes if columns == TABLE_WORDS else 2 * n_bytes)
    flat = tables.reshape(len(tables), -1)
    if flat.shape == (n_queries, entries):
        return np.ascontiguousarray(flat)
    padded = np.zeros((n_queries, entries), np.float32)
    padded[: flat.shape[0], : flat.shape[1]] = flat
    return padded


def _masks(
    filters: Sequence[RowFilter | None], n_queries: int
) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Return the different masks, one at least, and which of them each query has."""
    different = list({id(one): one for one in filters if one is not None}.values())
    place = {id(one): i for i, one in enumerate(different)}
    mask_of = np.full(n_queries, NO_ROWS, np.int32)
    mask_of[: len(filters)] = [place.get(id(one), ALL_ROWS) for one in filters]
    masks = [one.words.view(np.uint16) for one in different] or [np.zeros(1, np.uint16)]
    return np.stack(masks), mask_of


def _stride(steps: int) -> int:
    """A stride near the golden ratio of the steps that has no divisor in common with them."""
    stride = max(1, round(steps * 0.618))
    while math.gcd(stride, steps) > 1:
        stride += 1
    return stride


def _distances_and_rows(keys: NDArray[np.uint64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    bits = (keys >> np.uint64(32)).astype(np.uint32)
    sign = np.uint32(0x80000000)
    distances = np.where(bits & sign, bits ^ sign, ~bits).view(np.float32)
    rows = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
    nothing = keys == NOTHING
    distances[nothing], rows[nothing] = np.inf, -1
    return distances, rows
