"""Any changes in any order, in memory and on disk, against a plain dict."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from oracles_index import integer_codebooks, nearest

from spdq.errors import DataError
from spdq.index import Index, compaction

CODEBOOKS = integer_codebooks()
COLUMNS = {"label": "str", "year": "int", "score": "float", "tags": "set"}
NUMBERS = st.integers(-5, 15) | st.sampled_from([-(2**63), 1 - 2**63, 2**63 - 3, 2**40])
TEXTS = st.sampled_from([*"abcdefghij", "a ", "aa", "é", "￿", "\U0001f600", "a" * 1024])
CODES = st.tuples(*[st.integers(0, 4)] * 3)
VALUES = st.tuples(
    st.sampled_from(["cat", "dog", "", None]),
    st.sampled_from([-(2**63), 0, 2020, 2**63 - 1, None]),
    st.sampled_from([-0.5, 0.0, 1e300, None]),
    st.sampled_from([(), ("night",), ("night", "red"), None]),
)


def as_columns(values):
    return dict(zip(COLUMNS, map(list, zip(*values, strict=True)), strict=True)) if values else {}


def as_dict(values):
    label, year, score, tags = values
    return {"label": label, "year": year, "score": score, "tags": None if tags is None else sorted(tags)}


class AnyOrder(RuleBasedStateMachine):
    """``items`` is what the index must hold: code and attributes by id."""

    kind: str
    an_id: st.SearchStrategy

    def __init__(self):
        super().__init__()
        self.kept = compaction.MAX_SEGMENTS
        compaction.MAX_SEGMENTS = 4  # So that few changes are enough for it.
        self.folder = Path(tempfile.mkdtemp())
        self.items = {}
        self.largest = None
        self.memory = Index(CODEBOOKS, ids=self.kind, attributes=COLUMNS)
        self.disk = Index.create(self.folder / "i", CODEBOOKS, ids=self.kind, attributes=COLUMNS)
        self.reader = Index.open(self.folder / "i")
        self.seen, self.seen_generation = {}, 0

    def teardown(self):
        compaction.MAX_SEGMENTS = self.kept
        self.disk.close()
        shutil.rmtree(self.folder)

    def indexes(self):
        return self.memory, self.disk

    def put(self, ids, codes, values):
        self.items |= {
            one: (code, as_dict(value)) for one, code, value in zip(ids, codes, values, strict=True)
        }
        if self.kind == "int" and ids:
            self.largest = max(ids) if self.largest is None else max(self.largest, *ids)

    @initialize(data=st.data())
    def start(self, data):
        self.add(data, data.draw(st.lists(self.an_id, unique=True, max_size=9)), False)

    @rule(data=st.data(), as_vectors=st.booleans())
    def add_new(self, data, as_vectors):
        new = self.an_id.filter(lambda one: one not in self.items)
        self.add(data, data.draw(st.lists(new, unique=True, min_size=1, max_size=3)), as_vectors)

    @rule(data=st.data())
    def add_any(self, data):
        self.add(data, data.draw(st.lists(self.an_id, max_size=3)), False)

    def add(self, data, ids, as_vectors):
        codes, values = self.drawn(data, len(ids))
        vectors = CODEBOOKS.decode(np.array(codes, np.uint8).reshape(-1, 3))
        for index in self.indexes():

            def change(index=index):
                if as_vectors:
                    index.add(vectors, ids, as_columns(values))
                else:
                    index.add_codes(np.array(codes, int).reshape(-1, 3), ids, as_columns(values))

            self.change(index, change, len(set(ids)) < len(ids) or bool(set(ids) & set(self.items)))
        if len(set(ids)) == len(ids) and not set(ids) & set(self.items):
            codes = CODEBOOKS.encode(vectors).tolist() if as_vectors else codes
            self.put(ids, map(tuple, codes), values)

    @precondition(lambda self: self.kind == "int")
    @rule(data=st.data(), count=st.integers(0, 3))
    def add_numbered(self, data, count):
        codes, values = self.drawn(data, count)
        start = 0 if self.largest is None else self.largest + 1
        full = start + count > 2**63
        for index in self.indexes():
            array = np.array(codes, int).reshape(-1, 3)
            self.change(index, lambda: index.add_codes(array, None, as_columns(values)), full)  # noqa: B023
        if not full:
            self.put(range(start, start + count), codes, values)

    @rule(data=st.data(), missing=st.sampled_from(["raise", "add"]))
    def update(self, data, missing):
        ids = data.draw(st.lists(self.known_or_not(), max_size=4))
        codes, values = self.drawn(data, len(ids))
        fails = len(set(ids)) < len(ids) or (missing == "raise" and bool(set(ids) - set(self.items)))
        array = np.array(codes, int).reshape(-1, 3)
        for index in self.indexes():
            self.change(index, lambda: index.update_codes(array, ids, as_columns(values), missing), fails)  # noqa: B023
        if not fails:
            self.put(ids, codes, values)

    @rule(data=st.data(), missing=st.sampled_from(["raise", "ignore"]))
    def remove(self, data, missing):
        ids = data.draw(st.lists(self.known_or_not(), max_size=6))
        fails = missing == "raise" and (len(set(ids)) < len(ids) or bool(set(ids) - set(self.items)))
        removed = []
        for index in self.indexes():
            self.change(index, lambda: removed.append(index.remove(ids, missing)), fails)  # noqa: B023
        if not fails:
            assert removed == [len(set(ids) & set(self.items))] * 2
            self.items = {one: item for one, item in self.items.items() if one not in ids}

    @rule()
    def remove_everything(self):
        for index in self.indexes():
            assert index.remove(list(self.items)) == len(self.items)
        self.items = {}

    @rule()
    def compact(self):
        for index in self.indexes():
            index.compact()
            assert len(index.code_blocks) == bool(self.items)
            assert index.stats()["removed"] == 0

    @rule(data=st.data())
    def merge(self, data):
        ids = data.draw(st.lists(self.an_id, unique=True, max_size=5))
        codes, values = self.drawn(data, len(ids))
        other = Index(CODEBOOKS, ids=self.kind, attributes=COLUMNS)
        for one, code, value in zip(ids, codes, values, strict=True):
            other.add_codes([code], [one], as_columns([value]))
        gone = set(data.draw(st.lists(st.sampled_from(ids), unique=True))) if ids else set()
        other.remove(list(gone))
        rest = [one for one in ids if one not in gone]
        fails = bool(set(rest) & set(self.items))
        for index in self.indexes():
            self.change(index, lambda: index.merge_from(other), fails)  # noqa: B023
        if not fails:
            kept = [place for place, one in enumerate(ids) if one not in gone]
            self.put(rest, [codes[place] for place in kept], [values[place] for place in kept])

    @rule(verify=st.booleans())
    def reopen(self, verify):
        self.disk.verify()
        self.disk.close()
        self.disk = Index.open(self.folder / "i", writable=True, verify=verify)

    @rule()
    def refresh(self):
        assert self.reader.refresh() is (self.disk.generation > self.seen_generation)
        assert self.disk.refresh() is self.memory.refresh() is False
        self.seen, self.seen_generation = dict(self.items), self.disk.generation

    @rule(seed=st.integers(0, 99), k=st.integers(1, 40))
    def search(self, seed, k):
        queries = np.random.default_rng(seed).integers(-2, 3, (2, 6)).astype(np.float32)
        dogs = {one: item for one, item in self.items.items() if item[1]["label"] == "dog"}
        for index in (*self.indexes(), self.reader):
            items = self.seen if index is self.reader else self.items
            self.assert_found(index.search(queries, k), items, queries, k)
        for index in self.indexes():
            self.assert_found(index.search(queries, k, filter="label = 'dog'"), dogs, queries, k)

    def assert_found(self, found, items, queries, k):
        codes = [code for code, _ in items.values()]
        distances, ids = nearest(CODEBOOKS, "l2", codes, list(items), queries, k)
        np.testing.assert_array_equal(found[0], distances)
        assert found[1].tolist() == ids

    @invariant()
    def is_right(self):
        for index in self.indexes():
            self.assert_holds(index, self.items)
        assert self.memory.generation == self.disk.generation
        assert len(self.memory.code_blocks) == len(self.disk.code_blocks) <= 5
        self.assert_holds(self.reader, self.seen)
        assert self.reader.generation == self.seen_generation

    def assert_holds(self, index, items):
        ids = sorted(items)
        assert len(index) == len(ids)
        assert index.ids.tolist() == list(index) == ids
        assert list(map(tuple, index.codes.tolist())) == [items[one][0] for one in ids]
        assert index.attributes_of(ids) == [items[one][1] for one in ids]
        assert all(one in index for one in ids)
        others = ["a", "b", "zz"] if self.kind == "str" else [-5, 0, 3, 2**63 - 1]
        assert [one in index for one in others] == [one in items for one in others]
        decoded = CODEBOOKS.decode(np.array([items[one][0] for one in ids], np.uint8).reshape(-1, 3))
        np.testing.assert_array_equal(index.reconstruct(ids), decoded)

    def change(self, index, change, fails):
        """Make a change that must succeed, or fail and leave everything as it was."""
        if not fails:
            return change()
        generation, segments = index.generation, index._snapshot.segments
        with pytest.raises(DataError, match=r"duplicate id|no item has the id|int64 ids are left"):
            change()
        assert (index.generation, index._snapshot.segments) == (generation, segments)
        return None

    def known_or_not(self):
        return st.sampled_from(sorted(self.items)) | self.an_id if self.items else self.an_id

    def drawn(self, data, count):
        both = data.draw(st.lists(st.tuples(CODES, VALUES), min_size=count, max_size=count))
        return [code for code, _ in both], [value for _, value in both]


class NumbersInAnyOrder(AnyOrder):
    kind, an_id = "int", NUMBERS


class TextsInAnyOrder(AnyOrder):
    kind, an_id = "str", TEXTS


FEW = settings(max_examples=12, stateful_step_count=20, deadline=None)
TestNumbers = NumbersInAnyOrder.TestCase
TestNumbers.settings = FEW
TestTexts = TextsInAnyOrder.TestCase
TestTexts.settings = FEW
