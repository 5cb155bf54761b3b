"""MIRFlickr-25K with a click log made of its tags: a photo is clicked for its tags and for pairs of them."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from spdq.data.dataset import Dataset
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.made_clicks import with_made_clicks
from spdq.data.mirflickr import mirflickr_items
from spdq.data.query_items import QueryItems, normalised_query
from spdq.data.splits import Rows
from spdq.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CLICKS_A_TAG, CLICKS_A_PAIR = 2, 1
MIN_PHOTOS = 2
MAX_CHANCE = 0.01
N_LABELS = 2


def load_mirflickr_clicks(
    folder: Path, extractor: ImageExtractor, progress: Progress | None = None, seed: int = 0
) -> Dataset:
    """Make the items of ``load_mirflickr``, with clicks that nobody ever made: they are counts of tags.

    Queries are the common tags and the unordered pairs of them ("sunset beach", in the vocabulary's order) that
    two photos or more have. A photo is clicked twice for each of its tags and once for each pair of them.

    A random tenth of the queries is held out, as grades. Excellent (3) for these are the photos that have all of
    the query's tags. Taggers leave much unsaid, so photos that show the same are good (2): those with the labels
    that stand out among the excellent ones. These are labels that more than half of the excellent photos have,
    and so many of them as as many random photos would have with a chance below 1 % (hypergeometric); where there
    are more than two, the two commonest, the rarer in all photos first among equals. A query without such a label
    ("canon", "2008") has no good photos. A held-out pair has tags that are learned from, and the other way round.
    The split is of kind ``clicks``: every photo is trained on and searched. ``queries.txt`` is not used.

    Parameters
    ----------
    folder, extractor : as for ``load_mirflickr``.

    Raises
    ------
    NotFoundError, DataError
        As ``load_mirflickr``; DataError also where fewer than two queries are found.
    """
    items = dataclasses.replace(mirflickr_items(folder, extractor, progress), name="mirflickr-clicks")
    labels = cast(npt.NDArray[np.uint8], items.labels)
    return with_made_clicks(items, _clicks(items), lambda clicked: _alike(labels, clicked), seed)


def _clicks(items: Dataset) -> QueryItems:
    bag, vocabulary = cast("csr_matrix", items.text_features), cast(tuple[str, ...], items.vocabulary)
    found: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for row in range(len(items)):
        tags = [vocabulary[column] for column in bag.indices[bag.indptr[row] : bag.indptr[row + 1]]]
        for tag in tags:
            found[normalised_query(tag)][row] += CLICKS_A_TAG
        for pair in combinations(tags, 2):
            found[normalised_query(" ".join(pair))][row] += CLICKS_A_PAIR
    kept = {query: found[query] for query in sorted(found) if len(found[query]) >= MIN_PHOTOS}
    if len(kept) < 2:
        raise DataError(
            f"{items.root}: {len(kept)} tags and pairs of tags are common to {MIN_PHOTOS} photos or more: "
            "expected at least 2, to learn from and to judge by"
        )
    return QueryItems.from_mapping(kept)


def _alike(labels: npt.NDArray[np.uint8], clicked: Rows) -> Rows:
    """Rows of the photos that have the labels which stand out among the clicked ones; none where none does."""
    from scipy.stats import hypergeom

    total, have = (rows.sum(axis=0, dtype=np.int64) for rows in (labels, labels[clicked]))
    chance = hypergeom.sf(have - 1, len(labels), total, len(clicked))
    standing_out = np.flatnonzero((2 * have > len(clicked)) & (chance < MAX_CHANCE))
    if not standing_out.size:
        return standing_out
    commonest = np.lexsort((total[standing_out], -have[standing_out]))[:N_LABELS]
    return np.flatnonzero(labels[:, standing_out[commonest]].all(axis=1))
