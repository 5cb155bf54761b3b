"""The compiled kernels of SPDQ: lookup tables, encoding and the exact scan over short codes (NumPy and Numba
only).

Vectors are (n, D) float32, codes (n, M) uint8, words (M, K, D) float32 for additive codebooks and (M, K, D/M)
for product codebooks, lookup tables (nq, M, 256) float32 where smaller always means closer. Bad arguments
raise ``ValueError`` or ``TypeError``. Numba is imported, and kernels are compiled or loaded from the cache,
at first use. How the scan works and how fast it is: docs/kernels.md.
"""

from __future__ import annotations

__version__ = "0.1.0"

from spdq_kernels.contract import BLOCK_ROWS, MAX_ADDITIVE_WORDS, MAX_ALONG, TABLE_WORDS
from spdq_kernels.dispatch import (
    additive_tables,
    assign,
    encode_additive,
    encode_product,
    find_texts,
    product_tables,
    project,
    warmup,
)
from spdq_kernels.layout import pack_codes, unpack_codes
from spdq_kernels.reference import WordProducts, word_products
from spdq_kernels.row_filter import RowFilter
from spdq_kernels.search import hamming_scan, range_scan, sample_bounds, scan

__all__ = [
    "BLOCK_ROWS",
    "MAX_ADDITIVE_WORDS",
    "MAX_ALONG",
    "TABLE_WORDS",
    "RowFilter",
    "WordProducts",
    "additive_tables",
    "assign",
    "encode_additive",
    "encode_product",
    "find_texts",
    "hamming_scan",
    "pack_codes",
    "product_tables",
    "project",
    "range_scan",
    "sample_bounds",
    "scan",
    "unpack_codes",
    "warmup",
    "word_products",
]
