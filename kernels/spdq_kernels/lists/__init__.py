"""A coarse index: codes in lists, and the exact scan of the lists nearest to a query.

Vectors belong to the list whose centroid is nearest (``assign``); a query searches the n_probe lists nearest to it
(``nearest``) with ``scan`` or ``range_scan``, and gets what a scan of all rows in those lists gives, bit for bit. Codes
stand for vectors themselves or for residuals, their difference to the centroid. Then a row's distance has three parts:

- metric "l2", squared distance: that of the query and the centroid (an offset), tables of the query
  (``residual_tables``: -2 <query, word>) and tables of the list (``ListTables``: |word|^2 + 2 <centroid, word>);
- metric "ip", negated inner product: that of the query and the centroid (an offset) and tables of the query.

Words of additive codebooks are not orthogonal, so that for "l2" a byte of the code names the squared norm of what they
add up to: tables of the query and of the list then hold the products alone, and the query's last table those norms.
"""

from __future__ import annotations

from spdq_kernels.lists.coarse import assign, nearest, residual_tables
from spdq_kernels.lists.parts import LIST_ROWS, Centroids, CodeLists, ListTables, pack
from spdq_kernels.lists.search import range_scan, scan

__all__ = [
    "LIST_ROWS",
    "Centroids",
    "CodeLists",
    "ListTables",
    "assign",
    "nearest",
    "pack",
    "range_scan",
    "residual_tables",
    "scan",
]
