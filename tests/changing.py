"""What tests of changes to an index ask of it."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
from oracles_index import made_up_codes

from spdq.index import Index

LABELLED = {"label": "str", "tags": "set"}


def facts(index):
    """All that an index holds and says of itself."""
    return index.ids.tolist(), index.codes.tolist(), index.attributes_of(index.ids), index.stats()


@contextmanager
def unchanged(index):
    """Whatever happens inside changes nothing, also for those who open the index afterwards."""
    before = facts(index)
    yield
    assert facts(index) == before
    index.verify()
    if path := index.stats()["path"]:
        with Index.open(path) as reader:
            assert facts(reader)[:3] == before[:3]
            assert reader.generation == index.generation


def holds(index, *ids):
    """The index is whole and holds exactly made-up items with these ids."""
    index.verify()
    assert index.ids.tolist() == sorted(ids)
    np.testing.assert_array_equal(index.codes, made_up_codes(sorted(ids)))
    return True


def reopened(index):
    """An index on disk closed and opened anew, one in memory as it is."""
    path = index.stats()["path"]
    if path is None:
        return index
    index.close()
    return Index.open(path, writable=True)
