from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from changing import LABELLED, unchanged
from oracles_index import (
    assert_made_up,
    forge,
    integer_codebooks,
    made_up_codes,
    make_index,
)

from spdq.errors import DamagedError, DataError, IncompatibleError, LockedError, StorageError, UsageError
from spdq.index import Index

ONE = made_up_codes([0])
TWO = made_up_codes([0, 1])
OTHERS = {
    "codebook fingerprint": lambda: Index(integer_codebooks(seed=3), attributes=LABELLED),
    "metric": lambda: Index(integer_codebooks(), "ip", attributes=LABELLED),
    "ids": lambda: Index(integer_codebooks(), ids="str", attributes=LABELLED),
    "attributes": lambda: Index(integer_codebooks(), attributes={"label": "int"}),
}


def closed():
    index = Index(integer_codebooks(), attributes=LABELLED)
    index.close()
    return index


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda i: i.add_codes(TWO, [8, 8]), DataError, "duplicate id 8"),
        (lambda i: i.add_codes(TWO, [8, 2]), DataError, "duplicate id 2"),
        (lambda i: i.add_codes(ONE, [2**63]), DataError, "id 9223372036854775808 does not fit into int64"),
        (lambda i: i.add_codes(ONE, ["a"]), DataError, "this index has int ids: expected integers, got <U1"),
        (lambda i: i.add_codes(ONE, [True]), DataError, "expected integers, got bool"),
        (lambda i: i.add_codes(ONE, np.array([True], object)), DataError, "expected integers, got bool"),
        (lambda i: i.add_codes(TWO, [8]), DataError, r"expected 2 ids, one for each item, got shape \(1,\)"),
        (lambda i: i.add_codes(ONE, [[8]]), DataError, r"expected 1 ids, .*got shape \(1, 1\)"),
        (lambda i: i.add_codes(TWO, [8, 9], {"label": ["a"]}), DataError, "attribute label: expected 2 val"),
        (
            lambda i: i.add_codes(TWO, [8, 9], {"label": ["a", 3]}),
            DataError,
            "label of item 1 must be a text",
        ),
        (lambda i: i.add_codes(ONE, [8], {"size": [1]}), DataError, "unknown attribute 'size'"),
        (lambda i: i.add_codes([[9, 0, 0]], [8]), DataError, "codes row 0 has byte 9"),
        (lambda i: i.add(np.full((2, 6), np.nan), [8, 9]), DataError, "vectors must be finite"),
        (lambda i: i.update(np.full((1, 6), np.inf), [1]), DataError, "vectors must be finite"),
        (lambda i: i.update_codes(TWO, [1, 9]), DataError, "no item has the id 9"),
        (lambda i: i.update_codes(TWO, [1, 1]), DataError, "duplicate id 1"),
        (lambda i: i.update_codes(TWO, [9, 9], missing="add"), DataError, "duplicate id 9"),
        (lambda i: i.update_codes(ONE, [1], {"tags": ["x"]}), DataError, "tags of item 0 must be a set"),
        (lambda i: i.update_codes(ONE, [1], missing="ignore"), UsageError, "raise or add, got 'ignore'"),
        (lambda i: i.update(np.zeros((1, 6)), [1], missing=None), UsageError, "raise or add, got None"),
        (lambda i: i.remove([1, 9]), DataError, "no item has the id 9"),
        (lambda i: i.remove([0]), DataError, "no item has the id 0"),
        (lambda i: i.remove([2, 1, 2]), DataError, "duplicate id 2"),
        (lambda i: i.remove([9, 9]), DataError, "duplicate id 9"),
        (lambda i: i.remove(2), DataError, r"expected a list of ids, got shape \(\)"),
        (lambda i: i.remove([1.0]), DataError, "expected integers, got float64"),
        (lambda i: i.remove([1], missing="add"), UsageError, "raise or ignore, got 'add'"),
        (lambda i: i.merge_from(i), DataError, "duplicate id 1"),
        (lambda i: i.merge_from("other"), UsageError, "expected an index to merge, got str"),
        (lambda i: i.merge_from(closed()), UsageError, "the index is closed"),
        *(
            (lambda i, make=make: i.merge_from(make()), IncompatibleError, f"the indexes differ in {name}: ")
            for name, make in OTHERS.items()
        ),
    ],
)
def test_what_fails_changes_nothing(new_index, change, error, message):
    index = new_index(attributes=LABELLED)
    index.add_codes(made_up_codes(range(3)), attributes={"label": ["x", None, "z"]})
    index.add_codes(made_up_codes([5]), [5])
    index.remove([0])
    with unchanged(index), pytest.raises(error, match=message):
        change(index)


def test_strings_that_fail_change_nothing(new_index):
    index = new_index(ids="str")
    index.add_codes(made_up_codes([0, 1]), ["a", "b"])
    for change, message in (
        (lambda: index.update_codes(TWO, ["a", "c"]), 'no item has the id "c"'),
        (lambda: index.remove(["b", "a", "b"]), 'duplicate id "b"'),
        (lambda: index.add_codes(TWO, ["z", "b"]), 'duplicate id "b"'),
        (lambda: index.remove([1]), "this index has str ids: expected strings, got int"),
        (lambda: index.remove([""]), "an id must not be empty"),
        (lambda: index.merge_from(index), 'duplicate id "a"'),
    ):
        with pytest.raises(DataError, match=message):
            change()
    with pytest.raises(UsageError, match="an index of str ids needs the ids"):
        index.add_codes(ONE)
    assert (index.generation, index.ids.tolist()) == (1, ["a", "b"])


def test_verify_finds_two_items_with_one_id(tmp_path):
    path = make_index(tmp_path / "i", adds=(3, 4))
    index = Index.open(path)
    old = index._snapshot.segments[0].row
    name = "f" * 32
    shutil.copy(path / "segments" / f"{old.name}.safetensors", path / "segments" / f"{name}.safetensors")
    forge(
        path,
        "DELETE FROM segments WHERE number = 2",
        None,
        "INSERT INTO segments SELECT 2, ?, n_items, size, checksum, 0, '', 0, 0, NULL FROM segments",
        name,
    )
    with pytest.raises(DamagedError, match=r"two items have the id 0\. Rebuild the index"):
        index.verify()


def calls():
    other = Index(integer_codebooks())
    return {
        "add": lambda index: index.add(np.zeros((1, 6)), [999]),
        "add_codes": lambda index: index.add_codes(ONE),
        "update": lambda index: index.update(np.zeros((1, 6)), [1]),
        "update_codes": lambda index: index.update_codes(ONE, [1]),
        "remove": lambda index: index.remove([1]),
        "compact": lambda index: index.compact(),
        "merge_from": lambda index: index.merge_from(other),
    }


@pytest.mark.parametrize("change", calls().values(), ids=calls())
def test_who_may_not_change(new_index, tmp_path, change):
    index = new_index()
    index.add_codes(made_up_codes([1, 2]), [1, 2])
    index.close()
    with pytest.raises(UsageError, match="the index is closed"):
        change(index)
    path = make_index(tmp_path / "kept")
    message = r"the index is open for reading: use Index.open\(path, writable=True\)"
    with Index.open(path) as reader, unchanged(reader), pytest.raises(UsageError, match=message):
        change(reader)


def test_a_closed_index_is_not_refreshed_or_asked(new_index):
    index = new_index()
    index.close()
    for ask in (Index.refresh, Index.verify, Index.stats, list, lambda one: 3 in one):
        with pytest.raises(UsageError, match="the index is closed"):
            ask(index)


@pytest.mark.parametrize("change", calls().values(), ids=calls())
def test_no_changes_across_a_fork(tmp_path, change):
    path = make_index(tmp_path / "i")
    with Index.open(path, writable=True) as index:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                change(index)
            except BaseException as error:
                os.write(writing, f"{type(error).__name__}: {error}".encode())
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        message = os.read(reading, 1000).decode()
        os.close(reading)
        assert message == (
            f"UsageError: {path} was opened for writing by process {os.getpid()}: open it anew in this one"
        )
        assert_made_up(index, 303)
        index.add_codes(made_up_codes([303]))
    with Index.open(path) as index:
        assert_made_up(index, 304)


def test_no_space_left_to_merge_after_a_removal(tmp_path, monkeypatch):
    path = make_index(tmp_path / "i", adds=(10,))
    index = Index.open(path, writable=True)

    def full(*_):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert index.remove(range(4, 10)) == 6
        assert_made_up(index, 4)
        with pytest.raises(StorageError, match="an earlier write to this index failed: open it anew"):
            index.add_codes(made_up_codes([4]))
    index.close()
    with Index.open(path, writable=True) as index:
        assert (index.generation, index.stats()["removed"]) == (2, 6)
        assert_made_up(index, 4)
        index.add_codes(made_up_codes(range(4, 9)), range(4, 9))
        assert (index.generation, index.stats()["removed"]) == (4, 0)
        assert_made_up(index, 9)


def test_reopened_it_goes_on_where_it_was(tmp_path, monkeypatch):
    path = make_index(tmp_path / "i", adds=(10,))
    with Index.open(path, writable=True) as index:
        index.reopen()
        index.add_codes(made_up_codes([10]), [10])
        before = index._snapshot

        def full(*_):
            raise OSError(28, os.strerror(28))

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(StorageError, match="no space left on device; nothing was changed"):
                index.add_codes(made_up_codes([11]), [11])
        index.reopen()
        assert index._snapshot.state == before.state
        with pytest.raises(LockedError, match="writing"):
            Index.open(path, writable=True)
        index.add_codes(made_up_codes([11]), [11])
        assert_made_up(index, 12)
        # What was searched meanwhile is still whole.
        assert before.n_items == 11
        index.verify()
    with pytest.raises(UsageError, match="closed"):
        index.reopen()


def test_reopening_what_is_damaged_leaves_it_shut(tmp_path, monkeypatch):
    path = make_index(tmp_path / "i", adds=(10,))
    with Index.open(path, writable=True) as index:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError, match="division"):
                index.add_codes(made_up_codes([10]), [10])
        (segment,) = (path / "segments").iterdir()
        segment.rename(tmp_path / "away")
        with pytest.raises(DamagedError, match="missing"):
            index.reopen()
        with pytest.raises(StorageError, match="open it anew"):
            index.add_codes(made_up_codes([10]), [10])
        (tmp_path / "away").rename(segment)
        index.reopen()
        index.add_codes(made_up_codes([10]), [10])
        assert_made_up(index, 11)


@pytest.mark.parametrize("change", ["compact", "add_codes", "update_codes", "merge_from"])
def test_no_space_left(tmp_path, monkeypatch, change):
    path = make_index(tmp_path / "i")
    index = Index.open(path, writable=True)
    other = Index(integer_codebooks())
    other.add_codes(made_up_codes([303]), [303])
    arguments = {"compact": (), "merge_from": (other,), "add_codes": (ONE,), "update_codes": (ONE, [1])}

    def full(*_):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        message = "no space left on device; nothing was changed, index is at generation 2"
        with pytest.raises(StorageError, match=message):
            getattr(index, change)(*arguments[change])
    assert_made_up(index, 303)
    with pytest.raises(StorageError, match="an earlier write to this index failed: open it anew"):
        index.compact()
    index.close()
    with Index.open(path, writable=True) as index:
        assert index.generation == 2
        assert_made_up(index, 303)
        getattr(index, change)(*arguments[change])
        assert index.generation == 3
