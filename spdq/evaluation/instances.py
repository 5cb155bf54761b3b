"""How often a query finds its very own item: ``instance-recall@n``."""

from __future__ import annotations

import numpy as np

from spdq.errors import DataError, UsageError
from spdq.evaluation.averages import Score, average, each_query
from spdq.evaluation.blocks import Array, Distances, Progress, distance_blocks
from spdq.evaluation.figures import Figure
from spdq.evaluation.protocols import INSTANCE, Protocols, parse_protocols


def evaluate_instances(
    distances: Distances,
    own_rows: Array,
    protocols: Protocols,
    *,
    block: int = 256,
    progress: Progress = None,
    each: bool = False,
) -> list[Figure]:
    """Judge by ``instance-recall@n``.

    Chance level is n / items.

    Parameters
    ----------
    own_rows : (queries,) integer; the database row of each query's own item
    distances, protocols, block, progress, each, returns
        As :func:`spdq.evaluation.evaluate_ranking`.

    Raises
    ------
    UsageError
        A protocol other than ``instance-recall@n``, or block < 1.
    DataError
        Shapes that do not match, NaN distances, or an own row that is not in the database.
    """
    parsed = parse_protocols(protocols)
    for protocol in parsed:
        if protocol.row != INSTANCE:
            raise UsageError(f"{protocol} judges by relevance: use evaluate_labels or evaluate_ranking")
    if own_rows.ndim != 1 or own_rows.dtype.kind not in "iu":
        raise DataError(f"own_rows: expected 1-d integers, got shape {own_rows.shape} of {own_rows.dtype}")
    closer, tied = np.zeros(len(own_rows)), np.ones(len(own_rows))
    for rows, found in distance_blocks(distances, len(own_rows), None, block, progress):
        own = own_rows[rows]
        outside = own[(own < 0) | (own >= found.shape[1])]
        if len(outside):
            raise DataError(
                f"own_rows: expected rows of a database of {found.shape[1]} items, got {outside[0]}"
            )
        distance = np.take_along_axis(found, own[:, None].astype(np.int64), axis=1)
        closer[rows] = np.count_nonzero(found < distance, axis=1)
        tied[rows] = np.count_nonzero(found == distance, axis=1)
    figures = []
    for protocol in parsed:
        places = (protocol.cut or 0) - closer  # of those the tied items share, how many lie in the top n
        table = np.stack([np.clip(places / tied, 0, 1), places >= tied, places >= 1], axis=1)
        scores = [Score(*row) for row in table.tolist()]
        figures.append(
            Figure(
                protocol.name,
                *average(scores),
                queries=len(own_rows),
                skipped=0.0,
                empty=0,
                each=each_query(scores) if each else (),
            )
        )
    return figures
