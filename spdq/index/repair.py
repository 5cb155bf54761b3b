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
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from spdq.errors import DamagedError, NotFoundError
from spdq.index.attribute_table import pack_attributes
from spdq.index.catalogue import FORMAT, METRICS, Catalogue, State, are_columns
from spdq.index.ids import KINDS
from spdq.index.lock import WriterLock
from spdq.index.segments import RESTORE, Segment, SegmentRow, checksum, map_file, own_checksum
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
_FOREIGN = "a segment of another index"
_MAX_HEADER = 1 << 20
_MAX_NUMBER = 1 << 53


def repair(path: Path) -> list[str]:
    """Bring an index directory back to what its intact files hold; returns what was done, line by line.

    Raises NotFoundError where there is no index, LockedError, StorageError; DamagedError where the codebooks are
    damaged or no segment is left to say what the index was.
    """
    if not any(os.path.lexists(path / name) for name in (CATALOGUE, CODEBOOKS)):
        raise NotFoundError(f"{path} is not an index: it has no file {CATALOGUE}, and no {CODEBOOKS}")
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
        if not (self.path / SEGMENTS).is_dir():
            (self.path / SEGMENTS).mkdir()
            self.done.append(f"{self.path / SEGMENTS} was missing")
        if state is None:
            settings = codebook_settings(codebooks) | {"codebooks_sha256": sha256}
            state = self._from_segments(settings)
        kept = [row for row in (self._checked(row, state) for row in state.segments) if row is not None]
        if not self.done:
            return []
        self._replace_catalogue(state, kept)
        self.done.append(f"the index now has {sum(map(_n_live, kept))} items in {len(kept)} segments")
        return self.done

    def _state(self) -> State | None:
        """What the catalogue says, None where it cannot be trusted. Storage that refuses is no damage."""
        file = self.path / CATALOGUE
        try:
            if not file.is_file():
                raise DamagedError(f"{file}: missing")
            with closing(Catalogue.open(file, writable=False)) as catalogue:
                state = catalogue.read()
        except DamagedError as error:
            self.done.append(f"the catalogue is made anew, items removed before are back ({_fault(error)})")
            return None
        try:
            Catalogue.open(file, writable=True).close()
        except DamagedError as error:
            self.done.append(f"the catalogue is written anew, all that it says was saved ({_fault(error)})")
        return state

    def _from_segments(self, codebook_facts: Mapping[str, Any]) -> State:
        """What the segments say of themselves."""
        found: list[tuple[dict[str, Any], SegmentRow]] = []
        for file in sorted((self.path / SEGMENTS).iterdir()):
            if not _NAME.fullmatch(file.name):
                continue
            said = _said_by(file)
            if said is None:
                self._set_aside(file, "its header is damaged: its items are lost, how many is not known")
            elif not said[1].checksum:
                self._lose(said[1], f"{file}: checksum mismatch")
            elif said[0]["codebook_fingerprint"] != codebook_facts["codebook_fingerprint"]:
                self._set_aside(file, _FOREIGN)
            else:
                found.append(said)
        if not found:
            raise DamagedError(f"{self.path}: no segment is left to say what the index was. Rebuild it")
        usual = _usual(found)
        rows, number = [], 0
        for settings, row in sorted(found, key=lambda one: (one[1].number, one[1].name)):
            if settings == usual:
                number = max(number + 1, row.number)
                rows.append(replace(row, number=number))
            else:
                self._set_aside(segment_file(self.path, row.name, "safetensors"), _FOREIGN)
        meta = usual | dict(codebook_facts)
        meta |= {"generation": number, "format": FORMAT, "min_reader": FORMAT, "largest_id": None}
        return self._without_repeats(State(meta, tuple(rows), 0))

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
            if repeated.all():
                self._set_aside_all(row.name)
                self.done.append(f"a segment was set aside ({len(ids)} items, all of them in newer ones)")
            else:
                bitmap = np.packbits(repeated, bitorder="little").tobytes() if repeated.any() else None
                rows.append(replace(row, removed=bitmap))
        return replace(state, segments=tuple(reversed(rows)))

    def _checked(self, row: SegmentRow, state: State) -> SegmentRow | None:
        """The row of an intact segment, with empty attributes in place of damaged ones; None of a damaged one."""
        try:
            open_segment(self.path, replace(row, attributes_size=0), state, True).verify()
        except DamagedError as error:
            self._lose(row, _fault(error))
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
        self.done.append(f"the attributes of {_n_live(row)} items are lost ({_fault(error)})")
        return replace(row, attributes_size=len(data), attributes_checksum=checksum(data))

    def _lose(self, row: SegmentRow, why: str) -> None:
        self._set_aside_all(row.name)
        self.done.append(f"{_n_live(row)} items of a segment are lost ({why})")

    def _set_aside_all(self, name: str) -> None:
        for kind in ("safetensors", "db"):
            file = segment_file(self.path, name, kind)
            if os.path.lexists(file):
                self._set_aside(file, None)

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
        draft = self.path / f"{CATALOGUE}.tmp"
        for leftover in (draft, self.path / f"{draft.name}-journal"):
            leftover.unlink(missing_ok=True)
        made = Catalogue.create(draft, state.meta)
        made.restore(rows, largest, state.generation + 1)
        made.close()
        for name in (f"{CATALOGUE}-journal", CATALOGUE):
            file = self.path / name
            if os.path.lexists(file):
                (self.path / DAMAGED).mkdir(exist_ok=True)
                # The catalogue itself is replaced in one step.
                keep = os.link if name == CATALOGUE and file.is_file() else os.replace
                keep(file, self.path / DAMAGED / f"{uuid.uuid4().hex[:8]}-{name}")
        os.replace(draft, self.path / CATALOGUE)
        sync_directory(self.path)


def _said_by(file: Path) -> tuple[dict[str, Any], SegmentRow] | None:
    """The settings in a segment's header, and its row with the generation as number; None where they make no sense.

    The row has no checksum where the file is not what was written. Raises NotFoundError where the file may not be read.
    """
    try:
        raw = map_file(file, file.stat().st_size, None)
        end = 8 + min(int.from_bytes(raw[:8].tobytes(), "little"), _MAX_HEADER)
        said = json.loads(raw[8:end].tobytes())["__metadata__"]
        settings = {name: said.get(name) for name in REPAIR_SETTINGS}
        numbers = int(said["generation"]), int(said["n_items"])
        sane = (
            settings["metric"] in METRICS
            and settings["ids"] in KINDS
            and are_columns(settings["attributes"])
            and all(isinstance(value, str) for value in said.values())
            and all(0 < number < _MAX_NUMBER for number in numbers)
        )
        is_intact = sane and own_checksum(said, raw[end:]) == said["checksum"]
    except NotFoundError:
        raise
    except (DamagedError, OSError, LookupError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    if not sane:
        return None
    row = SegmentRow(numbers[0], file.stem, numbers[1], raw.size, checksum(raw.data) if is_intact else "")
    attributes = file.with_suffix(".db")
    if settings["attributes"] != "{}" and attributes.is_file():
        size, expected = attributes.stat().st_size, said.get("attributes_checksum", "")
        row = replace(row, attributes_size=size, attributes_checksum=expected)
    return settings, row


def _usual(found: Sequence[tuple[dict[str, Any], SegmentRow]]) -> dict[str, Any]:
    """The settings of most items: another index may have been copied into the directory."""
    items: Counter[str] = Counter()
    for settings, row in found:
        items[json.dumps(settings)] += row.n_items
    return dict(json.loads(items.most_common(1)[0][0]))


def _n_live(row: SegmentRow) -> int:
    """Items of a segment that have not been removed."""
    return row.n_items - int.from_bytes(row.removed or b"", "little").bit_count()


def _fault(error: DamagedError) -> str:
    return str(error).removesuffix(f". {RESTORE}")
