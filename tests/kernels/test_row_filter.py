from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spdq_kernels import RowFilter


@given(allowed=st.integers(0, 700).flatmap(lambda n: arrays(np.bool_, n)))
def test_the_mask_comes_back(allowed):
    one = RowFilter(allowed)
    assert np.array_equal(one.mask(), allowed)
    assert one.words.shape == (4 * -(-len(allowed) // 256),)
    assert one.count == sum(int(word).bit_count() for word in one.words) == allowed.sum()
    used = [allowed[at : at + 256].any() for at in range(0, len(allowed), 256)]
    assert one.n_blocks == sum(used)


@pytest.mark.parametrize(("count", "listed"), [(0, True), (3, True), (4, False)])
def test_few_rows_are_listed(count, listed):
    allowed = np.zeros(100, bool)
    allowed[90 : 90 + count] = True
    one = RowFilter(allowed)
    assert (one.rows is not None) == listed
    if listed:
        assert one.rows.dtype == np.uint32
        assert one.rows.tolist() == list(range(90, 90 + count))


def test_it_is_not_changed_from_outside():
    allowed = np.zeros(300, bool)
    one = RowFilter(allowed)
    allowed[:] = True
    assert not one.mask().any()
    with pytest.raises(ValueError, match="read-only"):
        one.words[0] = 1


@pytest.mark.parametrize(
    ("allowed", "error", "match"),
    [
        ([True], TypeError, "allowed must be a numpy array, not list"),
        (np.ones(3, np.uint8), TypeError, "allowed must have dtype bool, not uint8"),
        (np.ones((3, 1), bool), ValueError, "allowed must have 1 dimensions"),
    ],
)
def test_bad_masks(allowed, error, match):
    with pytest.raises(error, match=match):
        RowFilter(allowed)
