"""A coarse index over made data, ours and Faiss's, with the same centroids, codebooks and codes on both sides."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq_benchmarks.speed import peers
from spdq_benchmarks.speed.data import DIM, Clusters, CodeKind, Codes, Floats, fit_words
from spdq_benchmarks.speed.peers import Search
from spdq_kernels import encode_product, lists, product_tables
from spdq_kernels.lists import CodeLists, ListTables

TRAINING_SHARE = 64
"""Vectors for each list that centroids are fitted to, at most."""
RELEVANT = 10
"""Nearest vectors of a query that a search should find."""


class Listed:
    """Codes of one kind, of vectors or of their residuals, in lists; and the searches over them."""

    def __init__(self, kind: CodeKind, residual: bool, words: Floats, n_rows: int) -> None:
        self.kind, self.residual = kind, residual
        by_columns = np.ascontiguousarray(words.transpose(0, 2, 1))
        self.words: Floats = by_columns.transpose(0, 2, 1)
        self.codes: Codes = np.empty((n_rows, kind.n_codebooks), np.uint8)

    def fill(self, rows: slice, vectors: Floats, residuals: Floats) -> None:
        """Encode some rows."""
        self.codes[rows] = encode_product(residuals if self.residual else vectors, self.words)


class Collection:
    """Clustered vectors, their nearest lists, and their codes of some kinds, with and without residuals."""

    def __init__(self, seed: int, n_rows: int, n_lists: int, kinds: list[CodeKind], n_queries: int) -> None:
        clusters = Clusters(seed)
        self.n_rows, self.n_lists = n_rows, n_lists
        self.queries = clusters.queries(n_queries)
        self.sample = next(clusters.chunks(n_rows))[1]
        training = np.concatenate(
            [part for _, part in clusters.chunks(min(n_rows, TRAINING_SHARE * n_lists))]
        )
        fitted = peers.faiss().Kmeans(DIM, n_lists, niter=8, seed=1)
        fitted.train(training)
        self.centres: Floats = fitted.centroids.reshape(n_lists, DIM)
        self.centroids = lists.Centroids(self.centres)
        self.of_list: NDArray[np.int64] = np.empty(n_rows, np.int64)
        vectors = clusters.training()
        residuals = vectors - self.centres[lists.assign(vectors, self.centroids)]
        self.listed = {
            (kind, residual): Listed(
                kind, residual, fit_words(residuals if residual else vectors, kind, seed), n_rows
            )
            for kind in kinds
            for residual in (False, True)
        }
        best = np.empty((n_queries, 0), np.float32)
        self.relevant: NDArray[np.int64] = np.empty((n_queries, 0), np.int64)
        for rows, part in clusters.chunks(n_rows):
            self.of_list[rows] = lists.assign(part, self.centroids)
            differences = part - self.centres[self.of_list[rows]]
            for one in self.listed.values():
                one.fill(rows, part, differences)
            squares = np.einsum("nd,nd->n", self.queries, self.queries)[:, None]
            distances, found = peers.numpy_flat(part)(self.queries, RELEVANT)
            best = np.concatenate([best, distances - squares], axis=1)
            self.relevant = np.concatenate([self.relevant, found + rows.start], axis=1)
            order = np.argsort(best, axis=1)[:, :RELEVANT]
            best = np.take_along_axis(best, order, axis=1)
            self.relevant = np.take_along_axis(self.relevant, order, axis=1)

    def recall(self, rows: NDArray[np.int64]) -> float:
        """Share of the nearest vectors among rows (nq, k) found."""
        hits = (rows[:, :, None] == self.relevant[:, None, :]).any(axis=1)
        return float(hits.mean())


class Ours:
    """Our search, from vectors on."""

    def __init__(self, collection: Collection, one: Listed) -> None:
        self.name = f"spdq {one.kind.name}{' residual' if one.residual else ''}"
        self._centroids, self._one = collection.centroids, one
        bits = one.kind.bits
        self.lists: CodeLists = lists.pack(one.codes, collection.of_list, collection.n_lists, bits)
        self.list_tables = (
            ListTables.of_products(collection.centroids, one.words, bits=bits) if one.residual else None
        )

    def arguments(self, queries: Floats, n_probe: int) -> dict[str, Any]:
        """What ``lists.scan`` takes but k and threads."""
        offsets, probes = lists.nearest(queries, self._centroids, n_probe, "l2", 1)
        words, bits = self._one.words, self._one.kind.bits
        asked = {"lists": self.lists, "probes": probes}
        if not self._one.residual:
            return {**asked, "tables": product_tables(queries, words, "l2", 1, bits=bits)}
        tables = lists.residual_tables(queries, words, "l2", 1, bits=bits)
        return {**asked, "tables": tables, "list_tables": self.list_tables, "offsets": offsets}

    def search(self, n_probe: int) -> Search:
        """A search of so many lists."""

        def search(queries: Any, k: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
            return lists.scan(**self.arguments(queries, n_probe), k=k, threads=1)

        return search


class Peer:
    """Faiss's IndexIVFPQ, or of 4-bit codes its IndexIVFPQFastScan, given our centroids, codebooks and codes."""

    def __init__(self, collection: Collection, one: Listed) -> None:
        library, kind = peers.faiss(), one.kind
        nibbles = kind.bits == 4
        self.name = f"faiss {'IndexIVFPQFastScan' if nibbles else 'IndexIVFPQ'}"
        self.name += f" {kind.name}{' residual' if one.residual else ''}"
        coarse = library.IndexFlatL2(DIM)
        coarse.add(collection.centres)
        index = library.IndexIVFPQ(coarse, DIM, collection.n_lists, kind.n_codebooks, kind.bits)
        index.by_residual = one.residual
        library.copy_array_to_vector(np.ascontiguousarray(one.words).ravel(), index.pq.centroids)
        index.is_trained = True
        if one.residual:
            index.precompute_table()
        codes = one.codes[:, ::2] | one.codes[:, 1::2] << 4 if nibbles else one.codes
        order = np.argsort(collection.of_list[: len(codes)], kind="stable")
        last = np.cumsum(np.bincount(collection.of_list[: len(codes)], minlength=collection.n_lists))
        for which, (first, stop) in enumerate(pairwise([0, *last])):
            rows, some = order[first:stop], np.ascontiguousarray(codes[order[first:stop]])
            if len(rows):
                pointers = library.swig_ptr(rows), library.swig_ptr(some)
                index.invlists.add_entries(which, len(rows), *pointers)
        index.ntotal = len(codes)
        self.index = library.IndexIVFPQFastScan(index) if nibbles else index
        self._kept = coarse, index

    def search(self, n_probe: int) -> Search:
        """A search of so many lists."""

        def search(queries: Any, k: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
            self.index.nprobe = n_probe
            distances, rows = self.index.search(queries, k)
            return distances, rows

        return search
