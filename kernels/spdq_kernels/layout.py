"""The scan layout: codes transposed inside blocks of 256 rows, ``[block][codebook][row]``, padded with
zeros."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spdq_kernels import contract
from spdq_kernels.contract import BLOCK_ROWS


def pack_codes(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put codes (n, M) uint8 into blocks (ceil(n / 256), M, 256) uint8, the last one padded with zeros."""
    contract.codes(codes)
    n_rows, n_codebooks = codes.shape
    padded = np.zeros((-(-n_rows // BLOCK_ROWS) * BLOCK_ROWS, n_codebooks), np.uint8)
    padded[:n_rows] = codes
    return np.ascontiguousarray(padded.reshape(-1, BLOCK_ROWS, n_codebooks).transpose(0, 2, 1))


def unpack_codes(blocks: NDArray[np.uint8], n_rows: int) -> NDArray[np.uint8]:
    """Return the codes (n_rows, M) uint8 that blocks (ceil(n_rows / 256), M, 256) uint8 hold."""
    contract.blocks(blocks, n_rows)
    rows = blocks.transpose(0, 2, 1).reshape(-1, blocks.shape[1])
    return np.ascontiguousarray(rows[:n_rows])
