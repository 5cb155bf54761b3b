"""Which lists queries ask for, and which blocks these have."""

from __future__ import annotations

import numpy as np
from numba import int64

from spdq_kernels.cpu.compiler import kernel, read, write
from spdq_kernels.cpu.simd import count_bits, load_int


@kernel(read(int64, 2), int64, returns=int64)
def bad_probe(probes, n_lists):  # type: ignore[no-untyped-def]
    """The first place in probes (nq, n_probe) with no list, or one that the query has named already; -1 for none."""
    seen = np.full(n_lists, -1)
    for q in range(probes.shape[0]):
        for place in range(probes.shape[1]):
            which = probes[q, place]
            if which < 0 or which >= n_lists or seen[which] == q:
                return q * probes.shape[1] + place
            seen[which] = q
    return -1


@kernel(read(int64, 1), read(int64, 1), int64, int64, returns=int64)
def count_slots(starts, wanted, mask, enough):  # type: ignore[no-untyped-def]
    """Slots of the wanted lists that a mask allows, ``enough`` if there are more."""
    count = 0
    for which in wanted:
        for block in range(starts[which], starts[which + 1]):
            count += count_bits(np.uint64(load_int(mask, block)))
        if count >= enough:
            return enough
    return count


@kernel(read(int64, 1), read(int64, 1), int64, int64, write(int64, 1), returns=int64)
def choose_blocks(starts, wanted, first, stride, chosen):  # type: ignore[no-untyped-def]
    """Put every stride-th block of the wanted lists, counted through, into chosen; returns their number."""
    count, place = 0, first
    for which in wanted:
        block, last = starts[which] + place, starts[which + 1]
        while block < last and count < len(chosen):
            chosen[count] = block
            count += 1
            block += stride
        place = block - last
    return count


@kernel(read(int64, 2), write(int64, 1), int64, write(int64, 1), returns=int64)
def by_list(probes, first_places, n_lists, pairs):  # type: ignore[no-untyped-def]
    """Put the pairs of queries and lists into pairs, list after list; returns their number.

    A pair is a place in probes (nq, n_probe), counted through; those before a query's first place are left out.
    """
    n_queries, n_probe = probes.shape
    if n_queries == 1:  # shares no list, and is served best by the order it asks in
        n_pairs = n_probe - first_places[0]
        for i in range(n_pairs):
            pairs[i] = first_places[0] + i
        return n_pairs
    ends = np.zeros(n_lists + 1, np.int64)
    for q in range(n_queries):
        for place in range(first_places[q], n_probe):
            ends[probes[q, place] + 1] += 1
    for which in range(n_lists):
        ends[which + 1] += ends[which]
    n_pairs = ends[n_lists]
    for q in range(n_queries):
        for place in range(first_places[q], n_probe):
            which = probes[q, place]
            pairs[ends[which]] = q * n_probe + place
            ends[which] += 1
    return n_pairs
