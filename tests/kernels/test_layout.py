from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq_kernels import BLOCK_ROWS, pack_codes, unpack_codes


@settings(max_examples=25, deadline=None)
@given(n_rows=st.integers(0, 600), n_codebooks=st.integers(1, 17), seed=st.integers(0, 99))
def test_unpacking_gives_back_what_was_packed(n_rows, n_codebooks, seed):
    codes = np.random.default_rng(seed).integers(0, 256, (n_rows, n_codebooks), np.uint8)
    blocks = pack_codes(codes)
    assert blocks.shape == (-(-n_rows // BLOCK_ROWS), n_codebooks, BLOCK_ROWS)
    assert blocks.flags.c_contiguous
    assert np.array_equal(unpack_codes(blocks, n_rows), codes)


@settings(max_examples=25, deadline=None)
@given(n_rows=st.integers(0, 600), n_codebooks=st.integers(1, 17), seed=st.integers(0, 99))
def test_codes_of_4_bits(n_rows, n_codebooks, seed):
    codes = np.random.default_rng(seed).integers(0, 16, (n_rows, n_codebooks), np.uint8)
    blocks = pack_codes(codes, bits=4)
    assert blocks.shape == (-(-n_rows // BLOCK_ROWS), -(-n_codebooks // 2), BLOCK_ROWS)
    found = unpack_codes(blocks, n_rows, bits=4)
    assert np.array_equal(found[:, :n_codebooks], codes)
    assert not found[:, n_codebooks:].any()


def test_the_first_of_two_codes_is_the_low_half():
    assert pack_codes(np.array([[1, 2, 3]], np.uint8), bits=4)[0, :, 0].tolist() == [0x21, 0x03]


def test_codes_of_another_size():
    with pytest.raises(ValueError, match="bits must be 4 or 8, not 6"):
        pack_codes(np.zeros((3, 2), np.uint8), bits=6)
    with pytest.raises(ValueError, match="bits must be 4 or 8, not 16"):
        unpack_codes(np.zeros((1, 2, 256), np.uint8), 3, bits=16)
    with pytest.raises(ValueError, match="codes of 4 bits must be below 16, not 16"):
        pack_codes(np.full((3, 2), 16, np.uint8), bits=4)


def test_blocks_hold_row_by_codebook_and_zeros_behind():
    codes = np.arange(1, 601, dtype=np.uint16).astype(np.uint8).reshape(300, 2) | 1
    blocks = pack_codes(codes)
    assert blocks[1, 0, 43] == codes[299, 0]
    assert blocks[0, 1, 7] == codes[7, 1]
    assert not blocks[1, :, 44:].any()


@pytest.mark.parametrize(
    ("codes", "error", "match"),
    [
        ([[1, 2]], TypeError, "codes must be a numpy array, not list"),
        (np.zeros((3, 2), np.int64), TypeError, "codes must have dtype uint8, not int64"),
        (np.zeros(3, np.uint8), ValueError, r"codes must have 2 dimensions, not shape \(3,\)"),
        (np.zeros((3, 0), np.uint8), ValueError, r"codes must have 1..256 columns, not shape \(3, 0\)"),
        (np.zeros((3, 257), np.uint8), ValueError, r"codes must have 1..256 columns"),
        (np.zeros((3, 8), np.uint8)[:, ::2], ValueError, "codes must be C-contiguous"),
    ],
)
def test_bad_codes(codes, error, match):
    with pytest.raises(error, match=match):
        pack_codes(codes)


@pytest.mark.parametrize("n_rows", [0, 256, 513])
def test_blocks_of_another_number_of_rows(n_rows):
    blocks = pack_codes(np.zeros((300, 2), np.uint8))
    with pytest.raises(ValueError, match=rf"blocks of {n_rows} rows must have shape"):
        unpack_codes(blocks, n_rows)
