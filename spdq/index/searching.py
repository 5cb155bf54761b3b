"""Searching an index: what needs no writer and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.errors import DataError, IncompatibleError, UsageError
from spdq.index.attributes import shown
from spdq.index.facets import Facet, facets
from spdq.index.filters import Filter, accept_mask
from spdq.index.ids import IdArray, Int64Array, Uint8Array, accept_ids, sort_keys
from spdq.index.inputs import accept_filters, accept_mix, accept_queries, accept_radius, at_least_one, mixed
from spdq.index.snapshot import Filters, Floats, Snapshot
from spdq.quantizers.codebooks import Codebooks

Asked = Filter | str | Sequence[Filter | str | None] | None
"""A filter as callers give it."""

_QUERIES_AT_ONCE = 256


class Searching:
    """All that an ``Index`` can be asked."""

    _snapshot: Snapshot
    _codebooks: Codebooks
    _closed: bool

    def search(
        self,
        queries: npt.ArrayLike,
        k: int = 10,
        filter: Asked = None,
        threads: int | None = None,
        mix: npt.ArrayLike | None = None,
    ) -> tuple[Floats, IdArray]:
        """Find the k nearest items of each query by asymmetric distance, exactly.

        ``queries`` is (nq, D), or (D,) for one. Returns distances (nq, k') float32 and ids (nq, k') int64 or
        object (str), k' = min(k, number of items): ``"l2"`` ascending, ``"ip"`` descending, equal ones by id.
        Neither threads (default: all cores) nor the batch, the order of adding or a larger k change a result.

        Parameters
        ----------
        filter
            What ``filter`` returned, or a condition on attributes as text: one for all queries, or one (or None) each.
            Where it leaves a query fewer hits than another, id -1 or None and an infinite distance fill up.
        mix
            Weights (n, nq), or (nq,) for one: n searches instead of nq, each by a weighted sum of the queries'
            distances. A negative weight pushes away.

        Raises
        ------
        UsageError
            k or threads below 1, a bad filter.
        DataError
            NaN, inf or a wrong width.
        """
        return self._search(self._opened(), queries, k, filter, threads, mix)

    def range_search(
        self,
        queries: npt.ArrayLike,
        radius: float,
        filter: Asked = None,
        threads: int | None = None,
        mix: npt.ArrayLike | None = None,
    ) -> tuple[Int64Array, Floats, IdArray]:
        """Find all items nearer than ``radius``: below it for ``"l2"``, above it for ``"ip"``.

        Returns limits (nq + 1,) int64, distances (n,) and ids (n,): those of query q lie from limits[q] to
        limits[q + 1], in the order of ``search``, whose other arguments these are.

        Raises as ``search``, UsageError for a radius that is no number.
        """
        return self._range_search(self._opened(), queries, radius, filter, threads, mix)

    def filter(
        self,
        where: str | None = None,
        allow: npt.ArrayLike | None = None,
        deny: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
    ) -> Filter:
        """Make a filter for ``search`` from what is given, all of which an item must fulfil. Keep it to use it again.

        Parameters
        ----------
        where
            A condition on attributes in SQL, such as ``label = 'cat' and year >= 2020 and has(tags, 'night')``.
        allow, deny
            Ids of items that may, or may not, be found. Unknown ones are passed over.
        mask
            (n,) bool, in the order of ``ids``; a filter with a mask is for the present generation.

        Raises
        ------
        UsageError
            A bad condition.
        DataError
            Bad ids, a bad mask.
        """
        snapshot = self._opened()
        kind = snapshot.state.meta["ids"]
        allowed, denied = (None if ids is None else accept_ids(ids, None, kind) for ids in (allow, deny))
        return Filter(snapshot, where, allowed, denied, None if mask is None else accept_mask(mask))

    def select(self, filter: Filter | str) -> IdArray:
        """The ids (n,) that a filter lets through, ascending. Raises UsageError for a bad filter."""
        snapshot = self._opened()
        (one,) = accept_filters([filter], self._filter_of) or [None]
        if one is None:
            return snapshot.ids()
        one.check(snapshot)
        chosen = [segment.take_ids(np.flatnonzero(one.rows(segment).mask())) for segment in snapshot.segments]
        ids = np.concatenate([snapshot.no_ids, *chosen])
        return ids[np.argsort(sort_keys(ids))]

    def explain(self, queries: npt.ArrayLike, ids: npt.ArrayLike, mix: npt.ArrayLike | None = None) -> Floats:
        """Each codebook's share (m, M) float32 of the distance of one query to m items; a row adds up to it.

        ``queries`` is (D,), or (p, D) with weights ``mix`` (p,).

        Raises DataError for unknown ids, UsageError for several queries.
        """
        snapshot = self._opened()
        wanted = accept_ids(ids, None, snapshot.state.meta["ids"])
        tables = mixed(self._tables(accept_queries(queries)), accept_mix(mix), self._codebooks.n_words)
        if len(tables) != 1:
            raise UsageError(f"expected one query to explain, got {len(tables)}")
        codes = snapshot.codes_of(wanted)
        return self._signed(tables[0][np.arange(codes.shape[1]), codes])

    def reconstruct(self, ids: npt.ArrayLike) -> Floats:
        """The vectors (m, D) float32 that the codes of items stand for. Raises DataError for unknown ids."""
        return self._codebooks.decode(self.codes_of(ids))

    def codes_of(self, ids: npt.ArrayLike) -> Uint8Array:
        """The codes (m, M) uint8 of items. Raises DataError for unknown ids."""
        snapshot = self._opened()
        return snapshot.codes_of(accept_ids(ids, None, snapshot.state.meta["ids"]))

    def attributes_of(self, ids: npt.ArrayLike) -> list[dict[str, Any]]:
        """The attributes of items, one dict each; a set as a sorted list. Raises DataError for unknown ids."""
        snapshot = self._opened()
        wanted = accept_ids(ids, None, snapshot.state.meta["ids"])
        places, rows = snapshot.find_all(wanted)
        found: list[dict[str, Any]] = [{} for _ in wanted]
        for place, segment in enumerate(snapshot.segments):
            if segment.attributes is not None:
                here = np.flatnonzero(places == place)
                for item, values in zip(here.tolist(), segment.attributes.take(rows[here]), strict=True):
                    found[item] = shown(values, snapshot.state.attributes)
        return found

    def facets(self, most: int = 50) -> dict[str, Facet]:
        """The values of each attribute and how many items have them, at most ``most`` of them; of numbers the range.

        Raises UsageError for ``most`` below 1.
        """
        return facets(self._opened(), at_least_one(most, "most"))

    def __len__(self) -> int:
        return self._opened().n_items

    def __iter__(self) -> Iterator[int | str]:
        return iter(self.ids.tolist())

    def __contains__(self, item: object) -> bool:
        snapshot = self._opened()
        try:
            wanted = accept_ids(np.array([item], object), 1, snapshot.state.meta["ids"])
        except DataError:
            return False
        return bool(snapshot.find(wanted)[1][0] >= 0)

    @property
    def ids(self) -> IdArray:
        """All ids (n,) int64 or object (str), ascending."""
        return self._opened().ids()

    @property
    def codes(self) -> Uint8Array:
        """A copy of all codes (n, M) uint8, in the order of ``ids``."""
        return self._opened().codes()

    @property
    def code_blocks(self) -> list[Uint8Array]:
        """Each segment's codes in scan layout (blocks, M, 256) uint8, read-only, without a copy.

        Rows that have been removed are among them until ``compact``.
        """
        return [segment.blocks for segment in self._opened().segments]

    @property
    def id_blocks(self) -> list[IdArray]:
        """Each segment's ids (n,) in the order of its rows, removed ones among them, as ``code_blocks`` has the codes.

        int64 numbers are read-only views of what is stored; consecutive ones, of which only the first is, are made,
        and strings are decoded.
        """
        return [segment.all_ids() for segment in self._opened().segments]

    @property
    def codebooks(self) -> Codebooks:
        """What turns vectors into codes and queries into lookup tables."""
        return self._codebooks

    @property
    def metric(self) -> str:
        """``"l2"`` or ``"ip"``."""
        return str(self._snapshot.state.meta["metric"])

    @property
    def dim(self) -> int:
        """Width D of vectors and queries."""
        return self._codebooks.dim

    @property
    def id_kind(self) -> str:
        """``"int"`` or ``"str"``."""
        return str(self._snapshot.state.meta["ids"])

    @property
    def generation(self) -> int:
        """How many changes the index has seen."""
        return self._snapshot.state.generation

    @property
    def attributes(self) -> dict[str, str]:
        """The types of the attributes by name."""
        return self._snapshot.state.attributes

    @property
    def model_fingerprint(self) -> str | None:
        """Fingerprint of the model whose vectors are in the index, None where it was made without one."""
        fingerprint: str | None = self._snapshot.state.meta["model_fingerprint"]
        return fingerprint

    @property
    def model_path(self) -> str | None:
        """Where that model was when the index was made."""
        path: str | None = self._snapshot.state.meta["model_path"]
        return path

    def check_model(self, fingerprint: str) -> None:
        """Raise IncompatibleError unless the index holds vectors of the model with this fingerprint."""
        if self.model_fingerprint is None:
            raise IncompatibleError("index was built without a model. Rebuild it with one")
        if fingerprint != self.model_fingerprint:
            raise IncompatibleError(
                f"index was built with model {self.model_fingerprint[:12]}, this is {fingerprint[:12]}. "
                "Rebuild or pass the right model"
            )

    def _search(
        self,
        snapshot: Snapshot,
        queries: npt.ArrayLike,
        k: int,
        filter: Asked,
        threads: int | None,
        mix: npt.ArrayLike | None,
    ) -> tuple[Floats, IdArray]:
        k = at_least_one(k, "k")
        filters = accept_filters(filter, self._filter_of)
        found = [
            snapshot.search(tables, k, some, threads)
            for tables, some in self._batches(snapshot, queries, mix, filters, threads)
        ]
        width = max(part.ids.shape[1] for part in found)
        distances = np.concatenate([_filled(part.distances, width, np.inf) for part in found])
        ids = np.concatenate(
            [_filled(part.ids, width, None if part.ids.dtype == object else -1) for part in found]
        )
        return self._signed(distances), ids

    def _range_search(
        self,
        snapshot: Snapshot,
        queries: npt.ArrayLike,
        radius: float,
        filter: Asked,
        threads: int | None,
        mix: npt.ArrayLike | None,
    ) -> tuple[Int64Array, Floats, IdArray]:
        radius = accept_radius(radius)
        filters = accept_filters(filter, self._filter_of)
        found = [
            snapshot.search_within(tables, -radius if self.metric == "ip" else radius, some, threads)
            for tables, some in self._batches(snapshot, queries, mix, filters, threads)
        ]
        counts = np.concatenate([np.zeros(1, np.int64), *(np.diff(part[0]) for part in found)])
        distances = np.concatenate([part[1] for part in found])
        return np.cumsum(counts), self._signed(distances), np.concatenate([part[2] for part in found])

    def _batches(
        self,
        snapshot: Snapshot,
        queries: npt.ArrayLike,
        mix: npt.ArrayLike | None,
        filters: Filters | None,
        threads: int | None,
    ) -> Iterator[tuple[Floats, Filters | None]]:
        """Lookup tables of some queries at a time, and their filters."""
        if threads is not None:
            at_least_one(threads, "threads")
        vectors, weights = accept_queries(queries), accept_mix(mix)
        count = len(vectors) if weights is None else len(weights)
        for one in filters or ():
            if one is not None:
                one.check(snapshot)
        if filters is not None and len(filters) not in (1, count):
            raise UsageError(f"expected one filter or {count}, one a query, got {len(filters)}")
        parts = None if weights is None else self._tables(vectors)
        for start in range(0, max(count, 1), _QUERIES_AT_ONCE):
            some = slice(start, start + _QUERIES_AT_ONCE)
            if weights is None or parts is None:
                tables = self._tables(vectors[some])
            else:
                tables = mixed(parts, weights[some], self._codebooks.n_words)
            yield tables, filters if filters is None or len(filters) == 1 else filters[some]

    def _tables(self, vectors: npt.NDArray[np.float32]) -> Floats:
        return self._codebooks.lookup_tables(vectors, self.metric)

    def _filter_of(self, where: str) -> Filter:
        return self.filter(where=where)

    def _signed(self, distances: Floats) -> Floats:
        # Going through 0 turns -0.0 into 0.0, so that equal distances also look equal.
        return np.float32(0) - distances if self.metric == "ip" else np.float32(0) + distances

    def _opened(self) -> Snapshot:
        """The generation to answer from."""
        snapshot = self._snapshot
        if self._closed:
            raise UsageError("the index is closed")
        return snapshot


def _filled(found: npt.NDArray[Any], width: int, value: Any) -> npt.NDArray[Any]:
    """Columns up to a width."""
    missing = width - found.shape[1]
    return np.pad(found, ((0, 0), (0, missing)), constant_values=value) if missing else found
