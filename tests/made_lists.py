"""Small coarse indexes for the tests of ``spdq_kernels.lists``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spdq_kernels import lists, product_tables

WIDTH = 3


@dataclass
class Made:
    """A coarse index of residual codes, and queries with all that a search of theirs takes."""

    codes: Any
    of_list: Any
    lists: Any
    list_tables: Any
    centroids: Any
    words: Any
    queries: Any
    bits: int
    metric: str

    def asked(self, n_probe, residual=True):
        """Arguments of a search: positional ones, and those by name."""
        offsets, probes = lists.nearest(self.queries, self.centroids, n_probe, self.metric)
        if not residual:
            tables = product_tables(self.queries, self.words, self.metric, bits=self.bits)
            return (tables, self.lists, probes), {}
        tables = lists.residual_tables(self.queries, self.words, self.metric, bits=self.bits)
        list_tables = self.list_tables if self.metric == "l2" else None
        return (tables, self.lists, probes), {"offsets": offsets, "list_tables": list_tables}


def made(
    seed=0,
    n_rows=3000,
    n_lists=8,
    n_codebooks=4,
    bits=8,
    metric="l2",
    n_queries=4,
    whole_numbers=False,
    spread=1.0,
    away=0.0,
):
    """Draw one; with whole numbers nearly every distance is a tie. Queries lie ``away`` from all else."""
    random = np.random.default_rng(seed)

    def draw(*shape, scale=1.0):
        numbers = random.standard_normal(shape) * scale
        return (np.rint(numbers) if whole_numbers else numbers).astype(np.float32)

    centroids = lists.Centroids(draw(n_lists, n_codebooks * WIDTH, scale=spread))
    words = draw(n_codebooks, 1 << bits, WIDTH, scale=spread)
    codes = random.integers(0, 1 << bits, (n_rows, n_codebooks), np.uint8)
    # Lists of very different sizes, some of them empty.
    of_list = (random.random(n_rows) ** 3 * n_lists).astype(np.int64)
    return Made(
        codes,
        of_list,
        lists.pack(codes, of_list, n_lists, bits),
        lists.ListTables.of_products(centroids, words, bits=bits),
        centroids,
        words,
        draw(n_queries, n_codebooks * WIDTH, scale=max(spread, 1e-30)) + np.float32(away),
        bits,
        metric,
    )


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()
