"""How well a network under training answers queries of the click log that it does not learn from."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from spdq.data.dataset import Dataset
from spdq.data.query_items import QueryItems
from spdq.evaluation import evaluate_ranking
from spdq.models.model import Floats
from spdq.training.click_pairs import training_clicks
from spdq.training.inputs import Rows, validation_rows

MAX_QUERIES = 500
MAX_ITEMS = 4000
FIGURE = "ndcg@25"


def parted_clicks(dataset: Dataset, seed: int) -> tuple[QueryItems, QueryItems | None]:
    """The clicks on training rows to learn from, and those of held-out queries, None where queries are few."""
    clicks = training_clicks(dataset)
    queries, held = held_out_queries(len(clicks.queries), seed)
    if not len(held):
        return clicks, None
    return clicks.take_queries(queries), clicks.take_queries(held)


def held_out_queries(n: int, seed: int) -> tuple[Rows, Rows]:
    """Places of n queries parted into those to learn from and those to validate with, none where they are few."""
    _, held = validation_rows(np.arange(n), seed)
    if len(held) > MAX_QUERIES:
        held = np.sort(np.random.default_rng([seed, 6]).choice(held, MAX_QUERIES, replace=False))
    return np.setdiff1d(np.arange(n), held), held


class HeldOutClicks:
    """Held-out queries, and what of the training items they are to find.

    Parameters
    ----------
    clicks
        Of the held-out queries, on training rows.
    train
        Training rows. Where they are many, the queries are to find theirs among a random 4,000 and all clicked ones.
    seed
        Of that choice.
    """

    def __init__(self, clicks: QueryItems, train: Rows, seed: int) -> None:
        self.queries = clicks.queries
        items = train
        if len(items) > MAX_ITEMS:
            items = np.random.default_rng([seed, 7]).choice(train, MAX_ITEMS, replace=False)
        self.items: Rows = np.union1d(items, clicks.item)
        """Rows (i,) of the items that are ranked."""
        places = np.searchsorted(self.items, clicks.item)
        self._clicked = sparse.csr_matrix(
            (np.ones(len(clicks), bool), (clicks.query, places)), shape=(len(self.queries), len(self.items))
        )

    def figure(self, queries: Floats, items: Floats) -> dict[str, float]:
        """ndcg@25 of the clicked items, from vectors (q, dim) of the queries and (i, dim) of the items."""
        (figure,) = evaluate_ranking(-(queries @ items.T), self._clicked.toarray(), [FIGURE])
        return {FIGURE: figure.value}
