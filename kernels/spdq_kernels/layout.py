"""The scan layout: codes transposed inside blocks of 256 rows, ``[block][byte][row]``, padded with zeros.

A byte is one 8-bit code, or two 4-bit codes: the first of the two in its low half.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spdq_kernels import contract
from spdq_kernels.contract import BLOCK_ROWS, CACHE_LINE


def pack_codes(codes: NDArray[np.uint8], bits: int = 8) -> NDArray[np.uint8]:
    """Put codes (n, M) uint8 into blocks (ceil(n / 256), bytes, 256) uint8, the last one padded with zeros.

    Codes of 8 bits take M bytes, codes of 4 bits ceil(M / 2).
    """
    contract.codes(codes, bits)
    if bits == 4:
        high = codes[:, 1::2] << 4
        codes = codes[:, ::2].copy()
        codes[:, : high.shape[1]] |= high
    n_rows, n_bytes = codes.shape
    n_blocks = -(-n_rows // BLOCK_ROWS)
    padded = np.zeros((n_blocks * BLOCK_ROWS, n_bytes), np.uint8)
    padded[:n_rows] = codes
    blocks = empty_blocks(n_blocks, n_bytes)
    blocks[:] = padded.reshape(n_blocks, BLOCK_ROWS, n_bytes).transpose(0, 2, 1)
    return blocks


def empty_blocks(n_blocks: int, n_bytes: int) -> NDArray[np.uint8]:
    """Room for blocks (n_blocks, n_bytes, 256) uint8 that begins on a cache line, where it is read fastest."""
    room = np.empty(n_blocks * n_bytes * BLOCK_ROWS + CACHE_LINE, np.uint8)
    start = -room.ctypes.data % CACHE_LINE
    return room[start : start + room.size - CACHE_LINE].reshape(n_blocks, n_bytes, BLOCK_ROWS)


def unpack_codes(blocks: NDArray[np.uint8], n_rows: int, bits: int = 8) -> NDArray[np.uint8]:
    """Return the codes (n_rows, M) uint8 that blocks (ceil(n_rows / 256), bytes, 256) uint8 hold.

    M is the number of bytes, with codes of 4 bits twice that: an odd number of them comes back with a last column
    of zeros.
    """
    contract.code_bits(bits)
    contract.blocks(blocks, n_rows)
    rows = blocks.transpose(0, 2, 1).reshape(-1, blocks.shape[1])[:n_rows]
    if bits == 4:
        return np.stack([rows & 15, rows >> 4], axis=2).reshape(n_rows, 2 * rows.shape[1])
    return np.ascontiguousarray(rows)
