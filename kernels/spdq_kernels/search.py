"""The public searches: check the arguments and hand them on.

Every result is the same for any number of threads, any batch size and either way to filter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spdq_kernels import contract
from spdq_kernels.contract import BITS, BYTES, HALVES, NIBBLE_WORDS, NO_BIT_DISTANCE
from spdq_kernels.dispatch import compiled
from spdq_kernels.filtered import nearest
from spdq_kernels.reference import Floats
from spdq_kernels.row_filter import Allowed, RowFilter, row_filters
from spdq_kernels.scanning import Found, Queries, Rows
from spdq_kernels.within import keys_up_to, no_limits, radius_key, rows_within


def scan(
    tables: Floats,
    blocks: NDArray[np.uint8],
    n_rows: int,
    k: int,
    threads: int | None = None,
    *,
    allowed: Allowed = None,
    bounds: Floats | None = None,
) -> Found:
    """Return distances (nq, k') float32 and rows (nq, k') int64 of the k' nearest rows of each query.

    A distance is the float32 sum, from +0 on, of a row's entries of tables (nq, M, 256) float32 in the order of the
    codebooks, for 4-bit codes of tables (nq, M, 16). blocks is ``pack_codes`` of the codes. The order is
    (distance, row): the same for any number of threads, and a smaller k gives the beginning of the same list.

    k' = min(k, rows that may be returned). ``allowed`` says which may: one filter for all queries or one each; where
    a query has fewer such rows than another, +inf and -1 fill up. So they do where ``bounds`` (nq,) float32 leave a
    query fewer: rows farther than its bound are not returned, and cost less.
    """
    contract.blocks(blocks, n_rows)
    contract.tables(tables, blocks.shape[1])
    contract.integer(k, "k", 1)
    contract.bounds(bounds, len(tables))
    queries = _table_queries(tables, bounds)
    distances, rows = nearest(queries, blocks, int(n_rows), int(k), allowed, threads)
    if bounds is not None:
        # A few rows may have been evaluated one by one.
        beyond = distances > bounds[:, np.newaxis]
        distances[beyond], rows[beyond] = np.inf, -1
    return distances, rows


def sample_bounds(
    tables: Floats, blocks: NDArray[np.uint8], n_rows: int, k: int, n_all: int, *, allowed: Allowed = None
) -> Floats:
    """Return bounds (nq,) float32 for a ``scan`` of n_all rows, of which those in ``blocks`` are a sample.

    At least k rows lie within a bound, but for a probability of .002 where the sample was drawn at random: count them.
    +inf where the sample is too small to tell.
    """
    in_sample = allowed.count if isinstance(allowed, RowFilter) else n_rows
    rank = compiled("rank_of")(k * in_sample / max(n_all, 1), k)
    distances, _ = scan(tables, blocks, n_rows, rank, 1, allowed=allowed)
    if distances.shape[1] < rank:
        return np.full(len(tables), np.inf, np.float32)
    return np.ascontiguousarray(distances[:, -1])


def hamming_scan(
    queries: NDArray[np.uint8],
    blocks: NDArray[np.uint8],
    n_rows: int,
    k: int,
    threads: int | None = None,
    *,
    allowed: Allowed = None,
) -> tuple[NDArray[np.int32], Rows]:
    """Return the number of differing bits (nq, k') int32 and rows (nq, k') int64 of the k' nearest rows.

    queries (nq, bytes) uint8 are packed bits, blocks ``pack_codes`` of such rows. Order, k' and ``allowed`` are those
    of ``scan``; where a query has fewer rows, 2**31 - 1 and -1 fill up.
    """
    contract.blocks(blocks, n_rows)
    contract.bit_queries(queries, blocks.shape[1])
    contract.integer(k, "k", 1)
    distances, rows = nearest(_bit_queries(queries), blocks, int(n_rows), int(k), allowed, threads)
    whole = np.where(rows < 0, np.float64(NO_BIT_DISTANCE), distances)
    return whole.astype(np.int32), rows


def range_scan(
    tables: Floats,
    blocks: NDArray[np.uint8],
    n_rows: int,
    radius: float,
    threads: int | None = None,
    *,
    allowed: Allowed = None,
) -> tuple[Rows, Floats, Rows]:
    """Return all rows nearer than a radius: limits (nq + 1,) int64, distances (n,) float32, rows (n,) int64.

    Those of query q are at limits[q] to limits[q + 1], in the order (distance, row). tables, blocks and ``allowed``
    are those of ``scan``; a distance equal to the radius is outside.
    """
    contract.blocks(blocks, n_rows)
    contract.tables(tables, blocks.shape[1])
    contract.radius(radius)
    filters = row_filters(allowed, len(tables), int(n_rows))
    limit = radius_key(float(radius))
    return rows_within(_table_queries(tables), blocks, int(n_rows), limit, filters, threads)


def _table_queries(tables: Floats, bounds: Floats | None = None) -> Queries:
    kind = BYTES
    if tables.shape[2] == NIBBLE_WORDS:
        kind = HALVES
        if tables.shape[1] % 2:
            # The last byte has an empty half; 0 is the code there, and adds 0.
            tables = np.concatenate([tables, np.zeros_like(tables[:, :1])], axis=1)
    limits = no_limits(len(tables)) if bounds is None else keys_up_to(bounds)
    return Queries(tables, np.empty((len(tables), 0), np.uint8), kind, limits)


def _bit_queries(queries: NDArray[np.uint8]) -> Queries:
    return Queries(np.empty((len(queries), 0, 0), np.float32), queries, BITS, no_limits(len(queries)))
