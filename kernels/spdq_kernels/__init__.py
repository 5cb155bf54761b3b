"""The compiled kernels of SPDQ: lookup tables, encoding and the exact scan over short codes (NumPy and Numba
only).

Vectors are (n, D) float32, codes (n, M) uint8, words (M, K, D) float32 for additive codebooks and (M, K, D/M)
for product codebooks, lookup tables (nq, M, 256) float32 where smaller always means closer. Bad arguments
raise ``ValueError`` or ``TypeError``. Numba is imported, and kernels are compiled or loaded from the cache,
at first use.
"""

from __future__ import annotations

__version__ = "0.1.0"

from spdq_kernels.contract import BLOCK_ROWS, MAX_ADDITIVE_WORDS, TABLE_WORDS
from spdq_kernels.dispatch import (
    additive_tables,
    assign,
    encode_additive,
    encode_product,
    product_tables,
    project,
    scan,
    warmup,
)
from spdq_kernels.layout import pack_codes, unpack_codes
from spdq_kernels.reference import WordProducts, word_products

__all__ = [
    "BLOCK_ROWS",
    "MAX_ADDITIVE_WORDS",
    "TABLE_WORDS",
    "WordProducts",
    "additive_tables",
    "assign",
    "encode_additive",
    "encode_product",
    "pack_codes",
    "product_tables",
    "project",
    "scan",
    "unpack_codes",
    "warmup",
    "word_products",
]
