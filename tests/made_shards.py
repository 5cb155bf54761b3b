"""Shards for tests, and one index of the same items beside them."""

from __future__ import annotations

import numpy as np
from oracles_index import ATTRIBUTES, integer_codebooks, made_up_values

from spdq.index import Index

CODEBOOKS = integer_codebooks()


def names_of(numbers, kind):
    """Ids of a kind that follow from numbers."""
    return np.array(numbers, np.int64) if kind == "int" else np.array([f"é{n}" for n in numbers], object)


def codes_of(numbers, n_codebooks=3, n_words=5):
    """Codes of items, many of them equal."""
    steps = np.arange(1, n_codebooks + 1)
    return (np.abs(np.asarray(numbers, np.int64)).reshape(-1, 1) * steps % n_words).astype(np.uint8)


def make_shards(folder, numbers, shard_of, n_shards, removed=(), kind="int", metric="l2", parts=1):
    """Shards in a folder and one index in memory of items with these numbers, some of them removed again.

    The index has all of them in one segment, a shard in as many calls as ``parts``.
    """
    folder.mkdir()
    numbers, shard_of, removed = np.asarray(numbers, int), np.asarray(shard_of, int), np.asarray(removed, int)
    settings = {"metric": metric, "ids": kind, "attributes": ATTRIBUTES}
    whole = Index(CODEBOOKS, **settings)
    _fill(whole, numbers, kind, removed, 1)
    for number in range(n_shards):
        path = folder / f"shard-{number + 1}-of-{n_shards}"
        with Index.create(path, CODEBOOKS, **settings) as shard:
            here = numbers[shard_of == number]
            _fill(shard, here, kind, np.intersect1d(here, removed), parts)
    return whole


def _fill(index, numbers, kind, removed, parts):
    for some in np.array_split(numbers, parts):
        if len(some):
            index.add_codes(codes_of(some), names_of(some, kind), made_up_values(some.tolist()))
    if len(removed):
        index.remove(names_of(removed, kind))


def assert_same(found, expected):
    """Two answers are equal to the bit."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes()
