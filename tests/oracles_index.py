"""Slow plain twins and helpers for the tests of the index."""

from __future__ import annotations

import json
import sqlite3
from itertools import pairwise

import numpy as np
import xxhash

from spdq.quantizers.codebooks import Codebooks
from spdq_kernels import reference


def integer_codebooks(n_codebooks=3, n_words=5, kind="product", part=2, seed=0, span=2):
    """Codebooks of small integers: every distance is exact and many are equal."""
    rng = np.random.default_rng(seed)
    width = part if kind == "product" else part * n_codebooks
    words = rng.integers(-span, span + 1, (n_codebooks, n_words, width))
    return Codebooks(words.astype(np.float32), kind)


def float_codebooks(n_codebooks=4, n_words=16, part=3, seed=0):
    """Product codebooks of normal deviates."""
    words = np.random.default_rng(seed).normal(size=(n_codebooks, n_words, part))
    return Codebooks(words.astype(np.float32), "product")


def nearest(codebooks, metric, codes, ids, queries, k):
    """Distances (nq, k') float32 and ids (list of lists) by sorting all (distance, id) pairs one by one."""
    tables = {"product": reference.product_tables, "additive": reference.additive_tables}[codebooks.kind](
        np.asarray(queries, np.float32), codebooks.words, metric
    )
    distances, found = [], []
    for table in tables:
        pairs = []
        for code, item in zip(codes, ids, strict=True):
            total = np.float32(0)
            for m, byte in enumerate(code):
                total = np.float32(total + table[m, byte])
            pairs.append((float(total), item.encode() if isinstance(item, str) else int(item)))
        pairs = sorted(pairs)[:k]
        distances.append([pair[0] for pair in pairs])
        found.append([pair[1].decode() if isinstance(pair[1], bytes) else pair[1] for pair in pairs])
    sign = -1 if metric == "ip" else 1
    return sign * np.array(distances, np.float32).reshape(len(tables), -1), found


def made_up_codes(ids, n_codebooks=3, n_words=5):
    """Codes (n, M) that follow from the int ids, so that any part of an index can be checked."""
    steps = np.arange(1, n_codebooks + 1)
    return (np.asarray(ids, np.int64).reshape(-1, 1) * steps % n_words).astype(np.uint8)


def assert_made_up(index, n_items):
    """The index is whole and holds exactly the made-up items 0 .. n_items - 1."""
    index.verify()
    assert index.ids.tolist() == list(range(n_items))
    np.testing.assert_array_equal(index.codes, made_up_codes(index.ids))


def make_index(path, adds=(3, 300), **settings):
    """A closed index directory of made-up items, one segment for each of ``adds``."""
    from spdq.index import Index

    with Index.create(path, integer_codebooks(), **settings) as index:
        for count in adds:
            index.add_codes(made_up_codes(range(len(index), len(index) + count)))
    return path


def forge(path, *changes):
    """Change a catalogue as an attacker would: statements and their values, then the digest to match."""
    connection = sqlite3.connect(path / "catalog.db")
    for statement, value in zip(changes[::2], changes[1::2], strict=True):
        connection.execute(statement, () if value is None else (value,))
    meta = dict(connection.execute("SELECT key, value FROM meta WHERE key <> 'digest'"))
    rows = connection.execute("SELECT * FROM segments ORDER BY number").fetchall()
    content = json.dumps(
        {"meta": meta, "segments": rows},
        sort_keys=True,
        separators=(",", ":"),
        default=lambda bitmap: xxhash.xxh3_128(bitmap).hexdigest(),
    )
    digest = xxhash.xxh3_128(content.encode()).hexdigest()
    connection.execute("UPDATE meta SET value = ? WHERE key = 'digest'", (digest,))
    connection.commit()
    connection.close()


def kernel_distances(codebooks, metric, codes, queries, mix=None):
    """Distances (nq, n) float32, smaller is closer, entry after entry; ``mix`` (n, nq) weighs the queries' tables."""
    make = {"product": reference.product_tables, "additive": reference.additive_tables}[codebooks.kind]
    tables = make(np.asarray(queries, np.float32), codebooks.words, metric)[:, :, : codebooks.n_words]
    if mix is not None:
        parts, tables = tables, np.zeros((len(mix), *tables.shape[1:]), np.float32)
        for row, weights in enumerate(np.asarray(mix, np.float32)):
            for part, weight in zip(parts, weights, strict=True):
                tables[row] = tables[row] + weight * part
    sums = np.zeros((len(tables), len(codes)), np.float32)
    for m in range(codebooks.n_codebooks):
        sums = sums + tables[:, m, codes[:, m]]
    return sums


def ranked(distances, ids, allowed=None):
    """The pairs (distance, id) of one query in the order of a search; ``allowed`` (n,) bool."""
    chosen = range(len(ids)) if allowed is None else np.flatnonzero(allowed)
    return sorted(
        ((distances[row], ids[row]) for row in chosen),
        key=lambda pair: (pair[0], pair[1].encode() if isinstance(pair[1], str) else pair[1]),
    )


def nearest_of(distances, ids, k, masks, metric="l2"):
    """What ``search`` must return for kernel distances (nq, n): ``masks`` has (n,) bool, or None, for each query.

    Distances (nq, k') float32 in the sense of the metric, and ids (list of lists), filled up.
    """
    lists = [ranked(row, ids, mask)[:k] for row, mask in zip(distances, masks, strict=True)]
    width = max(map(len, lists), default=0)
    nobody = None if len(ids) and isinstance(ids[0], str) else -1
    filled = [found + [(np.inf, nobody)] * (width - len(found)) for found in lists]
    near = np.array([[pair[0] for pair in found] for found in filled], np.float32).reshape(len(filled), width)
    return near if metric == "l2" else -near, [[pair[1] for pair in found] for found in filled]


def within(distances, ids, radius, masks, metric="l2"):
    """What ``range_search`` must return for kernel distances (nq, n): limits, distances and ids (lists)."""
    limits, near, found = [0], [], []
    for row, mask in zip(distances, masks, strict=True):
        for distance, item in ranked(row, ids, mask):
            natural = float(distance if metric == "l2" else -distance)
            if natural < radius if metric == "l2" else natural > radius:
                near.append(natural)
                found.append(item)
        limits.append(len(found))
    return limits, near, found


def fill_in_parts(index, codes, ids, n_parts, attributes=None):
    """Add items in so many calls, of about the same size."""
    borders = [len(ids) * part // n_parts for part in range(n_parts + 1)]
    for start, end in pairwise(borders):
        if end > start:
            some = {name: column[start:end] for name, column in (attributes or {}).items()}
            index.add_codes(codes[start:end], ids[start:end], some or None)
    return index


ATTRIBUTES = {"label": "str", "year": "int", "score": "float", "tags": "set"}


def made_up_values(ids):
    """Attributes that follow from the ids: labels l0 to l2, every fifth year unknown, tags even, odd and three."""
    ids = list(ids)
    return {
        "label": [f"l{item % 3}" for item in ids],
        "year": [None if item % 5 == 4 else 2000 + item % 7 for item in ids],
        "score": [item / 4 for item in ids],
        "tags": [{"odd" if item % 2 else "even", *(["three"] if item % 3 == 0 else [])} for item in ids],
    }


def made_up_items(ids):
    """What ``attributes_of`` must return for such items."""
    columns = made_up_values(ids)
    columns["tags"] = [sorted(tags) for tags in columns["tags"]]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def add_made_up(index, n_items=40, n_parts=1):
    """The made-up items 0 .. n_items - 1 with their attributes, in so many calls."""
    return fill_in_parts(
        index, made_up_codes(range(n_items)), range(n_items), n_parts, made_up_values(range(n_items))
    )


def select(index, condition):
    """The ids for which a condition is true, by a search."""
    return sorted(index.search(np.zeros(index.dim), max(len(index), 1), filter=condition)[1][0].tolist())


def new_index(path, codebooks, **settings):
    """An empty index, in memory where there is no path."""
    from spdq.index import Index

    return Index(codebooks, **settings) if path is None else Index.create(path, codebooks, **settings)


def random_codes(codebooks, n_items, seed=0):
    """Codes (n, M)."""
    size = (n_items, codebooks.n_codebooks)
    return np.random.default_rng(seed).integers(0, codebooks.n_words, size, np.uint8)


def random_index(codebooks, n_items, n_parts=1, metric="l2", ids="int", path=None):
    """Items in no order under numbers that have gaps; returns the index, the ids in order and their codes."""
    numbers = np.random.default_rng(n_items).permutation(2 * n_items)[:n_items] - n_items // 2
    names = numbers if ids == "int" else np.array([f"é{number}" for number in numbers], object)
    codes = random_codes(codebooks, n_items)
    index = new_index(path, codebooks, metric=metric, ids=ids)
    fill_in_parts(index, codes, names, n_parts)
    order = sorted(range(n_items), key=lambda row: names[row].encode() if ids == "str" else names[row])
    return index, [names[row] for row in order], codes[order]


def assert_found(found, expected):
    """A search found what ``nearest_of`` says, to the last bit, and no zero is negative."""
    distances, ids = found
    assert distances.dtype == np.float32
    np.testing.assert_array_equal(distances, expected[0])
    assert not np.signbit(distances[distances == 0]).any()
    assert ids.tolist() == expected[1]


def assert_within(found, expected):
    """A range search found what ``within`` says, to the last bit, and no zero is negative."""
    limits, distances, ids = found
    assert (limits.dtype, distances.dtype) == (np.int64, np.float32)
    assert limits.tolist() == expected[0]
    np.testing.assert_array_equal(distances, np.array(expected[1], np.float32))
    assert not np.signbit(distances[distances == 0]).any()
    assert ids.tolist() == expected[2]
