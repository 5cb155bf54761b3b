"""What can be saved of a damaged index directory.

Intact segments stay. A damaged segment is lost, with its items; damaged attributes are lost, and their items stay
without. A lost catalogue is made anew from what the segments say of themselves: only which items had been removed is
not written there, so they are back. Whatever is taken out goes to ``damaged/``.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from spdq.errors import DamagedError, NotFoundError
from spdq.index.attributes import pack_attributes
from spdq.index.catalogue import FORMAT, Catalogue, State
from spdq.index.lock import WriterLock
from spdq.index.segments import Segment, SegmentRow, checksum, map_file
from spdq.index.store import (
    BEYOND_REPAIR,
    CATALOGUE,
    CODEBOOKS,
    LOCK,
    SEGMENTS,
    codebook_settings,
    open_attributes,
    open_segment,
    read_codebooks,
    segment_file,
    storage_errors,
    sync_directory,
    write_durably,
)
from spdq.index.writer import REPAIR_SETTINGS

DAMAGED = "damaged"

_NAME = re.compile(r"([0-9a-f]{32})\.safetensors")


def repair(path: Path) -> list[str]:
    """Bring an index directory back to what its intact files hold; returns what was done, line by line.

    Raises NotFoundError where there is no index, LockedError, StorageError; DamagedError where the codebooks are
    damaged or no segment is left to say what the index was.
    """
    if not (path / CODEBOOKS).exists():
        raise NotFoundError(f"{path} is not an index: it has no file {CODEBOOKS}")
    lock = WriterLock(path / LOCK)
    try:
        with storage_errors("the repair did not finish: run it again"):
            return _Repair(path).run()
    finally:
        lock.release()


class _Repair:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: list[str] = []

    def run(self) -> list[str]:
        codebooks, sha256 = read_codebooks(self.path / CODEBOOKS)
        state = self._state()
        if state is not None and state.meta["codebooks_sha256"] != sha256:
            raise DamagedError(f"{self.path / CODEBOOKS}: checksum mismatch. {BEYOND_REPAIR}")
        if state is None:
            settings = codebook_settings(codebooks) | {"codebooks_sha256": sha256}
            state = self._from_segments(settings)
        kept = [row for row in (self._checked(row, state) for row in state.segments) if row is not None]
        if not self.done:
            return []
        self._replace_catalogue(state, kept)
        items = sum(row.n_items for row in kept)
        self.done.append(f"the index now has {len(kept)} segments with {items} rows")
        return self.done

    def _state(self) -> State | None:
        """What the catalogue says, None where it cannot be trusted."""
        try:
            catalogue = Catalogue.open(self.path / CATALOGUE, writable=True)
            try:
                return catalogue.read()
            finally:
                catalogue.close()
        except (DamagedError, OSError) as error:
            self.done.append(f"the catalogue is made anew, items removed before are back ({error})")
            return None

    def _from_segments(self, codebook_facts: Mapping[str, Any]) -> State:
        """What the segments say of themselves."""
        rows, settings = [], []
        for file in sorted((self.path / SEGMENTS).iterdir()):
            if not (match := _NAME.fullmatch(file.name)):
                continue
            said = _said_by(file)
            if said is None or said[0]["codebook_fingerprint"] != codebook_facts["codebook_fingerprint"]:
                self._set_aside(file, "not a segment of this index")
                continue
            settings.append(said[0])
            raw = map_file(file, file.stat().st_size, None)
            row = SegmentRow(said[0]["generation"], match[1], said[1], raw.size, checksum(raw.data))
            rows.append(replace(row, **self._attribute_facts(row.name)))
        if not settings:
            raise DamagedError(f"{self.path}: no segment is left to say what the index was. Rebuild it")
        newest = max(settings, key=lambda one: one["generation"])
        meta = {name: newest.get(name) for name in REPAIR_SETTINGS} | dict(codebook_facts)
        meta |= {
            "generation": newest["generation"],
            "format": FORMAT,
            "min_reader": FORMAT,
            "largest_id": None,
        }
        return self._without_repeats(State(meta, tuple(sorted(rows, key=lambda row: row.number)), 0))

    def _without_repeats(self, state: State) -> State:
        """Of two items with one id the newer one is right: the older one was updated, or its removal is lost."""
        rows: list[SegmentRow] = []
        newer: list[Segment] = []
        for row in reversed(state.segments):
            try:
                segment = open_segment(self.path, replace(row, attributes_size=0), state, True)
            except DamagedError:
                rows.append(row)  # It is reported and set aside with the damaged ones.
                continue
            ids = segment.ids
            repeated = np.zeros(len(ids), np.bool_)
            for other in newer:
                repeated |= other.find(ids) >= 0
            newer.append(segment)
            if not repeated.all():
                bitmap = np.packbits(repeated, bitorder="little").tobytes() if repeated.any() else None
                rows.append(replace(row, removed=bitmap))
        return replace(state, segments=tuple(reversed(rows)))

    def _attribute_facts(self, name: str) -> dict[str, Any]:
        file = segment_file(self.path, name, "db")
        if not file.is_file():
            return {}
        data = file.read_bytes()
        return {"attributes_size": len(data), "attributes_checksum": checksum(data)}

    def _checked(self, row: SegmentRow, state: State) -> SegmentRow | None:
        """The row of an intact segment, with empty attributes in place of damaged ones; None of a damaged one."""
        try:
            open_segment(self.path, replace(row, attributes_size=0), state, True).verify()
        except DamagedError as error:
            for kind in ("safetensors", "db"):
                file = segment_file(self.path, row.name, kind)
                if os.path.lexists(file):
                    self._set_aside(file, None)
            self.done.append(f"{row.n_items} items of a segment are lost ({error})")
            return None
        if not state.attributes:
            return row
        try:
            if not row.attributes_size:
                raise DamagedError(f"{segment_file(self.path, row.name, 'db')}: missing")
            open_attributes(self.path, row, state, True).verify()
        except DamagedError as error:
            return self._without_attributes(row, state, error)
        return row

    def _without_attributes(self, row: SegmentRow, state: State, error: DamagedError) -> SegmentRow:
        file = segment_file(self.path, row.name, "db")
        if os.path.lexists(file):
            self._set_aside(file, None)
        unknown = (None,) * len(state.attributes)
        data = pack_attributes(state.attributes, ((at, unknown) for at in range(row.n_items)))
        write_durably(file, [memoryview(data)])
        self.done.append(f"the attributes of {row.n_items} items are lost ({error})")
        return replace(row, attributes_size=len(data), attributes_checksum=checksum(data))

    def _set_aside(self, file: Path, why: str | None) -> None:
        folder = self.path / DAMAGED
        folder.mkdir(exist_ok=True)
        os.replace(file, folder / f"{uuid.uuid4().hex[:8]}-{file.name}")
        if why is not None:
            self.done.append(f"{file} was set aside ({why})")

    def _replace_catalogue(self, state: State, rows: list[SegmentRow]) -> None:
        """Put a new catalogue in the place of the old one, which a hot journal must not be applied to."""
        largest = state.meta["largest_id"]
        if state.meta["ids"] == "int":
            for row in rows:
                last = open_segment(self.path, replace(row, attributes_size=0), state, False).take_ids(
                    np.array([row.n_items - 1])
                )
                largest = int(last[0]) if largest is None else max(largest, int(last[0]))
        draft = self.path / f"{uuid.uuid4().hex}.tmp"
        made = Catalogue.create(draft, state.meta)
        made.restore(rows, largest, state.generation + 1)
        made.close()
        for name in (f"{CATALOGUE}-journal", CATALOGUE):
            file = self.path / name
            if os.path.lexists(file):
                folder = self.path / DAMAGED
                folder.mkdir(exist_ok=True)
                kept = folder / f"{uuid.uuid4().hex[:8]}-{name}"
                if name == CATALOGUE:
                    os.link(file, kept)  # The catalogue itself is replaced in one step.
                else:
                    os.replace(file, kept)
        os.replace(draft, self.path / CATALOGUE)
        sync_directory(self.path)


def _said_by(file: Path) -> tuple[dict[str, Any], int] | None:
    """The settings in a segment's header and its number of items; None where it has none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as opened:
            said: dict[str, Any] = dict(opened.metadata() or {})
            names = opened.keys()
            if "id_offsets" in names:
                n_items = opened.get_slice("id_offsets").get_shape()[0] - 1
            elif "ids" in names:
                n_items = opened.get_slice("ids").get_shape()[0]
            else:
                n_items = int(said["n_items"])
        said["generation"] = int(said["generation"])
        if not isinstance(json.loads(said["attributes"]), dict) or said["ids"] not in ("int", "str"):
            return None
        return {name: said[name] for name in (*REPAIR_SETTINGS, "generation") if name in said}, n_items
    except (SafetensorError, OSError, KeyError, ValueError):
        return None
