"""How an index changes: files first, then one transaction that names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.errors import StorageError, UsageError
from spdq.index.attribute_table import pack_attributes
from spdq.index.attributes import accept_values
from spdq.index.catalogue import Change, State
from spdq.index.compaction import Items, merged, worth_merging
from spdq.index.id_lists import list_of
from spdq.index.ids import Int64Array, Uint8Array, accept_ids, sort_keys
from spdq.index.inputs import following_ids
from spdq.index.segments import Segment, SegmentRow, checksum, container
from spdq.index.snapshot import Snapshot
from spdq.index.store import Store, storage_errors
from spdq_kernels import pack_codes

REPAIR_SETTINGS = ("metric", "ids", "attributes", "codebook_fingerprint", "model_fingerprint", "model_path")
"""Settings that each segment carries so that a lost catalogue can be made anew."""

Rows = Mapping[int, Int64Array]
"""Rows by the place of their segment."""


class Writer:
    """Makes new generations in a store, one call at a time. A failure on the way ends it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.failed = False
        """Whether an earlier write failed: what is on disk is then known only by opening it anew."""

    def check(self) -> None:
        """Raise UsageError where the store cannot be written, StorageError after a failure."""
        if not self._store.writable:
            raise UsageError("the index is open for reading: use Index.open(path, writable=True)")
        self._store.check_process()
        if self.failed:
            raise StorageError("an earlier write to this index failed: open it anew")

    def accept(
        self,
        state: State,
        codes: Uint8Array,
        ids: npt.ArrayLike | None,
        attributes: Mapping[str, Sequence[Any]] | None,
        measured: tuple[float, int],
    ) -> Items:
        """What a user passed, checked and in the order of the ids. Raises DataError, UsageError."""
        if ids is None:
            accepted = following_ids(state.meta["largest_id"], len(codes), state.meta["ids"])
        else:
            accepted = accept_ids(ids, len(codes), state.meta["ids"])
        values = accept_values(attributes, state.attributes, len(codes))
        order = np.argsort(sort_keys(accepted), kind="stable")
        sorted_values = (
            None if values is None else ((row, values[old]) for row, old in enumerate(order.tolist()))
        )
        return Items(accepted[order], codes[order], sorted_values, *measured)

    def grouped(self, places: Int64Array, rows: Int64Array) -> Rows:
        """What ``Snapshot.find`` found, by segment."""
        return {int(place): rows[places == place] for place in np.unique(places[rows >= 0])}

    def commit(self, snapshot: Snapshot, items: Items | None, removed: Rows) -> Snapshot:
        """The next generation: some items more, some rows less.

        Raises StorageError; the catalogue alone then knows whether the commit happened: only opening it anew tells.
        """
        bitmaps: dict[int, bytes | None] = {}
        dropped = []
        for place, rows in removed.items():
            segment = snapshot.segments[place]
            marked = segment.removed.copy()
            marked[rows] = True
            if marked.all():
                dropped.append(segment)
            else:
                bitmaps[segment.row.number] = np.packbits(marked, bitorder="little").tobytes()
        return self._commit(snapshot, items, bitmaps, dropped)

    def merge(self, snapshot: Snapshot, segments: Sequence[Segment]) -> Snapshot:
        """The next generation: one segment in place of some. Raises as ``commit``."""
        return self._commit(snapshot, merged(segments), {}, segments)

    def tidy(self, snapshot: Snapshot) -> Snapshot:
        """``merge`` what is worth merging, most of the time nothing. Raises as ``commit``."""
        segments = worth_merging(snapshot.segments)
        return self.merge(snapshot, segments) if segments else snapshot

    def _commit(
        self,
        snapshot: Snapshot,
        items: Items | None,
        bitmaps: Mapping[int, bytes | None],
        dropped: Sequence[Segment],
    ) -> Snapshot:
        state = snapshot.state
        try:
            with storage_errors(f"nothing was changed, index is at generation {state.generation}"):
                new = None if items is None else self._write(items, state)
                change = Change(
                    new, bitmaps, [segment.row.number for segment in dropped], _largest_id(items, state)
                )
                with self._store.catalogue() as catalogue:
                    state = catalogue.commit(change)
            opened = {segment.row.number: segment for segment in snapshot.segments}
            segments = [self._opened(opened.get(row.number), row, state) for row in state.segments]
        except BaseException:
            self.failed = True
            raise
        # A file that stays is a stray, which the next writer deletes.
        with suppress(StorageError):
            self._store.delete([segment.row.name for segment in dropped])
        return Snapshot(state, segments)

    def _opened(self, known: Segment | None, row: SegmentRow, state: State) -> Segment:
        if known is None:
            return self._store.segment(row, state)
        return known if known.row == row else known.with_row(row)

    def _write(self, items: Items, state: State) -> SegmentRow:
        """Make the files of a segment durable. Raises OSError."""
        settings = {name: state.meta[name] for name in REPAIR_SETTINGS if state.meta[name] is not None}
        settings |= {"generation": str(state.generation + 1), "n_items": str(len(items.ids))}
        ids = list_of(items.ids)
        attributes, attributes_checksum = None, ""
        if items.attributes is not None:
            attributes = pack_attributes(state.attributes, items.attributes)
            attributes_checksum = settings["attributes_checksum"] = checksum(attributes)
        parts = container(pack_codes(items.codes), ids, settings)
        row = SegmentRow(
            number=0,
            name="",
            n_items=len(ids),
            size=sum(part.nbytes for part in parts),
            checksum=checksum(*parts),
            attributes_size=len(attributes or b""),
            attributes_checksum=attributes_checksum,
            squared_error=items.squared_error,
            n_measured=items.n_measured,
        )
        return replace(row, name=self._store.write(parts, attributes))


def _largest_id(items: Items | None, state: State) -> int | None:
    """The largest id ever, where the items have a larger one."""
    if items is None or state.meta["ids"] == "str":
        return None
    largest, known = int(items.ids[-1]), state.meta["largest_id"]
    return largest if known is None or largest > known else None
