"""Slow plain twins and helpers for the tests of the index."""

from __future__ import annotations

import json
import sqlite3

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
