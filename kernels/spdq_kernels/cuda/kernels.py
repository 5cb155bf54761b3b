"""The CUDA kernels: no checks, no policy. ``codes`` has those, ``spdq_kernels.reference`` the definitions.

A *team* is what CUDA calls a thread block: a block, here as elsewhere, is 256 rows of codes. A *key* is a uint64
with the bits of a distance, changed so that they sort like it, above the row: the order of keys is the order
(distance, row). A *list* is a row of ``lists`` (n_lists, capacity) uint64 in device memory that collects the
keys of one query for one team.

The scan: a team keeps the tables of its queries in shared memory and takes steps over the codes. In a step a
thread sums 16 neighbouring rows in registers, the additions in the order of the codebooks, and appends to the
lists what is nearer than their limits. Only when a list is full the team sorts it, cuts it to the k smallest keys
and makes the k-th the new limit: it is never below the k-th of all, so nothing is lost. The merge does the same
with the lists of all teams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core.types import float32, int32, int64, uint8, uint16, uint64, void

from spdq_kernels.contract import BLOCK_ROWS, TABLE_WORDS
from spdq_kernels.cuda.device import TABLE_ALIGNMENT, bits_of, cuda, float_of, inlined, load_16

THREAD_ROWS = 16
"""Rows that a thread sums in one step: so many codes are one load of 16 bytes."""

TABLE_FLOATS = 8192
"""Table entries in the shared memory of a team: 8 bytes of code for 4 queries. More bytes take turns."""

NOTHING = np.uint64(2**64 - 1)
"""Greater than every key."""

ALL_ROWS, NO_ROWS = -1, -2
"""Stand for a mask."""

SCAN_TYPES = void(
    uint8[::1],
    int64,
    int64,
    int64,
    float32[:, ::1],
    uint16[:, ::1],
    int32[::1],
    uint64[::1],
    int64,
    uint64[:, ::1],
)
MERGE_TYPES = void(uint64[:, ::1], int64, int64, int64, uint64[:, ::1], uint64[:, ::1])


@inlined
def _key(distance: Any, row: Any) -> Any:
    bits = bits_of(distance)
    flip = 0xFFFFFFFF if bits >> 31 else 0x80000000
    return np.uint64(bits ^ flip) << np.uint64(32) | np.uint64(row)


@inlined
def _distance(key: Any) -> Any:
    """The distance in a key; in NOTHING it is NaN."""
    bits = np.uint32(key >> np.uint64(32))
    flip = 0x80000000 if bits >> 31 else 0xFFFFFFFF
    return float_of(np.uint32(bits ^ flip))


@inlined
def _allowed(masks: Any, mask: Any, row: Any, n_rows: Any) -> Any:
    """One bit for each of the 16 rows from ``row`` on."""
    if mask == NO_ROWS or row >= n_rows:
        return 0
    if mask == ALL_ROWS:
        return (1 << min(THREAD_ROWS, n_rows - row)) - 1
    return int(masks[mask, row // THREAD_ROWS])


@inlined
def _append(lists: Any, at: Any, counts: Any, which: Any, key: Any) -> Any:
    """Whether there was room; a list that was full counts more keys than it has."""
    slot = cuda.atomic.add(counts, which, 1)
    if slot < lists.shape[1]:
        lists[at, slot] = key
        return True
    return False


@inlined
def _cut(lists: Any, first: Any, counts: Any, limits: Any, k: Any) -> Any:
    """Sort the lists of this team, leave k keys in each and lower its limit to the k-th.

    A bitonic network whose comparators all put the smaller key first: it sorts any length as if what lies behind
    were greater than all.
    """
    capacity = lists.shape[1]
    longest = 0
    for which in range(len(counts)):
        longest = max(longest, min(counts[which], capacity))
    size = 2
    while size < 2 * longest:
        half, flip = size // 2, size - 1
        while half > 0:
            for which in range(len(counts)):
                length = min(counts[which], capacity)
                for pair in range(cuda.threadIdx.x, (length + size) // 2, cuda.blockDim.x):
                    low = 2 * pair - (pair & (half - 1))
                    high = low ^ flip
                    if high < length:
                        one, other = lists[first + which, low], lists[first + which, high]
                        if one > other:
                            lists[first + which, low], lists[first + which, high] = other, one
            cuda.syncthreads()
            half //= 2
            flip = half
        size *= 2
    if cuda.threadIdx.x < len(counts):
        which = cuda.threadIdx.x
        length = min(counts[which], capacity)
        if length >= k:
            limits[which] = lists[first + which, k - 1]
            length = k
        counts[which] = length
    cuda.syncthreads()


def scan_function(n_queries: int, columns: int) -> Callable[..., None]:
    """Return the scan for teams of ``n_queries`` and tables of so many columns, to be compiled as SCAN_TYPES.

    Its grid is (parts, groups): each of the parts takes a share of the steps, each of the groups n_queries of the
    queries. Its arguments:

    blocks, n_bytes, n_rows
        The codes in scan layout, flat.
    stride
        Step i is the (i * stride)-th piece of the codes: each once, as stride and the number of steps are coprime,
        and scattered, so that rows sorted worst first do not fill the lists at every step.
    tables
        (groups * n_queries, tables * columns) float32.
    masks, mask_of
        (any, ceil(n_rows / 16)) uint16, one bit a row, and the mask of each query or ALL_ROWS or NO_ROWS.
    lowest
        (groups * n_queries,) uint64: keys below are left out.
    k, lists
        The list of query q of a group is row (group * parts + part) * n_queries + q; at the end its first k are
        the smallest keys of that part in order, NOTHING behind the last.
    """
    byte_entries = TABLE_WORDS if columns == TABLE_WORDS else 2 * columns
    tile_bytes = TABLE_FLOATS // (n_queries * byte_entries)
    n_sums = THREAD_ROWS * n_queries
    # A thread looks up one word for all queries at once where they lie beside each other: of 256 words that meets
    # fewer bank conflicts than one look-up a query. Of 16 words that lie together it would meet more: none is none.
    if columns == TABLE_WORDS:
        word_step, query_step = n_queries, 1
    else:
        word_step, query_step = 1, TABLE_FLOATS // n_queries

    @inlined
    def add(sums: Any, row: Any, entry: Any, table: Any) -> Any:
        """Add a table entry of each query to the sums of a row."""
        at = entry * np.uint32(word_step)
        for q in range(n_queries):
            sums[row * n_queries + q] += table[at + np.uint32(q * query_step)]

    @inlined
    def add_word(sums: Any, row: Any, word: Any, entry: Any, table: Any) -> Any:
        """Add to the sums of four rows what their codes, the bytes of a word, stand for."""
        for i in range(4):
            code = word >> np.uint32(8 * i) & np.uint32(255)
            if columns == TABLE_WORDS:
                add(sums, row + i, entry + code, table)
            else:
                add(sums, row + i, entry + (code & np.uint32(15)), table)
                add(sums, row + i, entry + (code >> np.uint32(4) | np.uint32(16)), table)

    def scan(
        blocks: Any,
        n_bytes: Any,
        n_rows: Any,
        stride: Any,
        tables: Any,
        masks: Any,
        mask_of: Any,
        lowest: Any,
        k: Any,
        lists: Any,
    ) -> None:
        table = cuda.shared.array(TABLE_FLOATS, np.float32, TABLE_ALIGNMENT)
        counts = cuda.shared.array(n_queries, np.int32)
        limits = cuda.shared.array(n_queries, np.uint64)
        sums = cuda.local.array(n_sums, np.float32)
        pending = cuda.local.array(n_queries, np.int32)
        thread, threads = cuda.threadIdx.x, cuda.blockDim.x
        part, parts = cuda.blockIdx.x, cuda.gridDim.x
        query = cuda.blockIdx.y * n_queries
        first = (cuda.blockIdx.y * parts + part) * n_queries
        if thread < n_queries:
            counts[thread] = 0
            limits[thread] = NOTHING
        cuda.syncthreads()

        step_blocks = threads * THREAD_ROWS // BLOCK_ROWS
        n_steps = (n_rows + step_blocks * BLOCK_ROWS - 1) // (step_blocks * BLOCK_ROWS)
        for step in range(part, n_steps, parts):
            block = step * stride % n_steps * step_blocks + thread * THREAD_ROWS // BLOCK_ROWS
            place = thread * THREAD_ROWS % BLOCK_ROWS
            row = block * BLOCK_ROWS + place
            wanted = 0
            for q in range(n_queries):
                pending[q] = _allowed(masks, mask_of[query + q], row, n_rows)
                wanted |= pending[q]

            for i in range(n_sums):
                sums[i] = 0
            for start in range(0, n_bytes, tile_bytes):
                stop = min(start + tile_bytes, n_bytes)
                if step == part or n_bytes > tile_bytes:
                    cuda.syncthreads()
                    for at in range(thread, (stop - start) * byte_entries * n_queries, threads):
                        q, entry = at % n_queries, at // n_queries
                        value = tables[query + q, start * byte_entries + entry]
                        table[entry * word_step + q * query_step] = value
                    cuda.syncthreads()
                if wanted:
                    for byte in range(start, stop):
                        words = load_16(blocks, (block * n_bytes + byte) * BLOCK_ROWS + place)
                        byte_entry = np.uint32((byte - start) * byte_entries)
                        add_word(sums, 0, words[0], byte_entry, table)
                        add_word(sums, 4, words[1], byte_entry, table)
                        add_word(sums, 8, words[2], byte_entry, table)
                        add_word(sums, 12, words[3], byte_entry, table)

            while True:
                left = 0
                for q in range(n_queries):
                    rest = 0
                    limit = limits[q]
                    farthest = _distance(limit)
                    for i in range(THREAD_ROWS):
                        distance = sums[i * n_queries + q]
                        # Nothing is greater than NaN, so before there is a limit every row comes through.
                        if not distance > farthest and pending[q] >> i & 1:
                            key = _key(distance, np.uint32(row) + np.uint32(i))
                            near = lowest[query + q] <= key and key < limit
                            if near and not _append(lists, first + q, counts, q, key):
                                rest |= 1 << i
                    pending[q] = rest
                    left |= rest
                if not cuda.syncthreads_or(left):
                    break
                _cut(lists, first, counts, limits, k)

        _cut(lists, first, counts, limits, k)
        for q in range(n_queries):
            for i in range(counts[q] + thread, k, threads):
                lists[first + q, i] = NOTHING

    return scan


def merge(lists: Any, n_queries: Any, parts: Any, k: Any, merged: Any, nearest: Any) -> None:
    """Merge what a scan by teams of ``n_queries`` left in its lists; one team a query, compiled as MERGE_TYPES.

    merged is (queries, capacity) uint64, work space; nearest (queries, k) uint64 the smallest keys in order,
    NOTHING behind the last.
    """
    counts = cuda.shared.array(1, np.int32)
    limits = cuda.shared.array(1, np.uint64)
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    query = cuda.blockIdx.x
    first = query // n_queries * n_queries * parts + query % n_queries
    if thread == 0:
        counts[0] = 0
        limits[0] = NOTHING
    cuda.syncthreads()

    # First the smallest keys of all parts, then the second smallest, and so on: when as many keys in succession
    # as there are parts are too great, so are all that follow.
    too_great = 0
    for start in range(0, parts * k, threads):
        at = start + thread
        key = NOTHING
        if at < parts * k:
            key = lists[first + at % parts * n_queries, at // parts]
        too_great = 0 if cuda.syncthreads_or(np.int32(key < limits[0])) else too_great + threads
        if too_great >= parts:
            break
        while True:
            if key < limits[0] and _append(merged, query, counts, 0, key):
                key = NOTHING
            if not cuda.syncthreads_or(np.int32(key < limits[0])):
                break
            _cut(merged, query, counts, limits, k)

    _cut(merged, query, counts, limits, k)
    for i in range(thread, k, threads):
        nearest[query, i] = merged[query, i] if i < counts[0] else NOTHING
