"""Data sets: the contract, its file form, splits, and one importer a source format."""

from spdq.data.dataset import Dataset
from spdq.data.query_items import QueryItems
from spdq.data.splits import Split, make_split, random_query_rows, spread_query_rows

__all__ = ["Dataset", "QueryItems", "Split", "make_split", "random_query_rows", "spread_query_rows"]
