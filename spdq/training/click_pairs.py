"""The pairs of a click log: which ones a batch is drawn from, and which ones are no negatives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spdq.data.dataset import Dataset
from spdq.data.query_items import QueryItems
from spdq.errors import DataError
from spdq.training.inputs import Rows
from spdq.training.needs import lacking, training_split


class ClickPairs:
    """m pairs (query, item), drawn with a probability proportional to 1 + ln(clicks).

    The logarithm keeps a pair of a billion clicks (made by a machine, or by all who open a shop's front page) at 22
    times a pair of one.

    Parameters
    ----------
    clicks
        The log.
    n_items
        Items of the data set.
    """

    def __init__(self, clicks: QueryItems, n_items: int) -> None:
        self.clicks, self.query, self.item = clicks, clicks.query, clicks.item
        self._upto = np.cumsum(1 + np.log(clicks.value))
        self._n_items = n_items
        self._keys = self.query * n_items + self.item

    def draw(self, n: int, random: np.random.Generator) -> Rows:
        """Places (n,) of pairs, with replacement."""
        drawn: Rows = np.searchsorted(self._upto, random.random(n) * self._upto[-1], side="right")
        return np.minimum(drawn, len(self._upto) - 1)

    def clicked(self, queries: Rows, items: Rows) -> NDArray[np.bool_]:
        """(q, i) whether a query and an item are a pair; memory and time follow q * i, not the log."""
        # Ascending keys are found several times faster: each search starts where the last one ended.
        by_query, by_item = np.argsort(queries), np.argsort(items)
        keys = queries[by_query, None] * self._n_items + items[by_item]
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        clicked = np.empty(keys.shape, bool)
        clicked[np.ix_(by_query, by_item)] = self._keys[places] == keys
        return clicked


def training_clicks(dataset: Dataset) -> QueryItems:
    """The clicks on training rows of a data set.

    Raises
    ------
    DataError
        The data set has no split, no clicks, or none on a training row.
    """
    if dataset.clicks is None:
        raise lacking(dataset, "/clicks", system="CSM")
    clicks, split = dataset.clicks, training_split(dataset)
    kept = np.isin(clicks.item, split.train)
    if not kept.any():
        raise DataError(f"no click of data set {dataset.name} is on a training row: split it otherwise")
    if kept.all():
        return clicks
    places, query = np.unique(clicks.query[kept], return_inverse=True)
    queries = tuple(map(clicks.queries.__getitem__, places.tolist()))
    return QueryItems(queries, query.astype(np.int64), clicks.item[kept], clicks.value[kept])
