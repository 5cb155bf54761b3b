from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import sparse

from spdq.data.items import Items
from spdq.distributed.blocks import digest, from_block, to_block

N = 7
TEXTS = st.lists(st.text(st.characters(), max_size=5), min_size=N, max_size=N)
PATHS = st.lists(
    st.none()
    | st.binary(min_size=1, max_size=5).map(lambda name: Path(os.fsdecode(name.replace(b"\0", b"/")))),
    min_size=N,
    max_size=N,
)
WIDTH = st.integers(1, 4)
DENSE = st.sampled_from([np.float16, np.float32]).flatmap(
    lambda kind: WIDTH.flatmap(lambda width: arrays.arrays(kind, (N, width), elements=st.integers(-9, 9)))
)
SPARSE = WIDTH.flatmap(lambda d: arrays.arrays(np.float32, (N, d), elements=st.integers(0, 2))).map(
    sparse.csr_matrix
)
ITEMS = st.builds(Items, st.just(np.arange(N)), st.none() | TEXTS | DENSE | SPARSE, st.none() | PATHS | DENSE)


def assert_same(found, expected):
    if sparse.issparse(expected):
        assert found.shape == expected.shape
        npt.assert_array_equal(found.toarray(), expected.toarray())
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        npt.assert_array_equal(found, expected)
    else:
        assert found == (None if expected is None else list(expected))


@settings(max_examples=150)
@given(items=ITEMS, rows=st.lists(st.integers(0, N - 1), min_size=1, unique=True).map(sorted))
def test_items_come_back_from_a_block(items, rows):
    found = from_block(to_block(items, np.array(rows)))
    npt.assert_array_equal(found.ids, rows)
    for part, given_ in ((found.texts, items.texts), (found.images, items.images)):
        is_list = isinstance(given_, list)
        assert_same(
            part, [given_[row] for row in rows] if is_list else None if given_ is None else given_[rows]
        )


@given(items=ITEMS)
def test_the_same_items_have_the_same_digest(items):
    texts, images = (part.copy() if part is not None else None for part in (items.texts, items.images))
    assert digest(Items(items.ids.copy(), texts, images)) == digest(items)


BASE = Items(np.arange(3), ["ab", "c", ""], np.eye(3, dtype=np.float32))


@pytest.mark.parametrize("other", [
    replace(BASE, ids=np.array([0, 1, 3])), replace(BASE, ids=np.array(["0", "1", "2"])),
    replace(BASE, texts=["a", "bc", ""]), replace(BASE, texts=None), replace(BASE, texts=["ab", "c", "d"]),
    replace(BASE, images=np.eye(3, dtype=np.float16)), replace(BASE, images=1 - np.eye(3, dtype=np.float32)),
    replace(BASE, images=None), replace(BASE, texts=sparse.csr_matrix(np.eye(3, dtype=np.float32))),
    replace(BASE, texts=sparse.csr_matrix(np.eye(3, 4, dtype=np.float32))), BASE[:2],
])  # fmt: skip
def test_other_items_have_another_digest(other):
    assert digest(other) != digest(BASE)


def test_a_picture_that_changed_has_another_digest(tmp_path):
    file = tmp_path / "a.png"
    items = Items(np.arange(2), None, [file, None])
    seen = {digest(items)}
    for content, when in ((b"one", 1), (b"two", 2), (b"longer", 2)):
        file.write_bytes(content)
        os.utime(file, (when, when))
        assert digest(items) not in seen
        seen.add(digest(items))
