"""Judge rankings by relevance under named protocols, all of them in one pass over the distances."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spdq.errors import DataError, UsageError
from spdq.evaluation import average_precision, first_hit, hits, ndcg
from spdq.evaluation.averages import Score, average, each_query
from spdq.evaluation.blocks import Array, Distances, Progress, check_matrix, distance_blocks
from spdq.evaluation.figures import CurvePoint, Figure, Spread
from spdq.evaluation.protocols import INSTANCE, Protocol, Protocols, parse_protocols
from spdq.evaluation.ties import TiedRanking, rank

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Scoring = Callable[[TiedRanking, int], Score]

SCORES: dict[str, Scoring] = {
    "map@R": average_precision.in_top,
    "map@R/skip": average_precision.in_top_or_skip,
    "map@all": average_precision.over_all,
    "map@R/first-hits": average_precision.at_first_hits,
    "precision@n": hits.precision,
    "recall@n": hits.recall,
    "ndcg@n": ndcg.ndcg,
    "dcg@n": ndcg.dcg,
    "median-rank": first_hit.first_rank,
    "pr-curve": average_precision.over_all,
}


def evaluate_ranking(
    distances: Distances,
    relevant: Array | csr_matrix,
    protocols: Protocols,
    *,
    block: int = 256,
    progress: Progress = None,
    each: bool = False,
) -> list[Figure]:
    """Judge rankings where the relevance of every item to every query is known.

    Parameters
    ----------
    distances : (queries, items) any real dtype, or a function from a slice of queries to those rows
        Smaller = closer; items are tied where distances are exactly equal. +inf is an ordinary distance.
    relevant : (queries, items) bool, or gains >= 0 for ``ndcg@n`` (relevant where > 0); an array or a CSR matrix
    protocols
        Names or parsed protocols.
    block
        Queries held in memory at a time.
    progress
        Called with (queries done, queries).
    each
        Whether the figures shall hold the score of every query, too.

    Returns
    -------
    One figure a protocol, in the order given.

    Raises
    ------
    UsageError
        An unknown protocol, ``instance-recall@n`` (see :func:`evaluate_instances`), or block < 1.
    DataError
        Shapes that do not match, NaN distances, or gains that are negative or not finite.
    """
    gains = relevant if isinstance(relevant, np.ndarray) else relevant.data
    if gains is relevant:
        check_matrix("relevant", gains)
    if gains.dtype.kind in "if" and not np.all((gains >= 0) & (gains < np.inf)):
        raise DataError("relevant: expected gains >= 0, found a negative or non-finite one")

    def rows_of(rows: slice) -> Array:
        block_of = relevant[rows]
        return block_of if isinstance(block_of, np.ndarray) else block_of.toarray()

    return _judge(distances, rows_of, relevant.shape, protocols, block, progress, each)


def evaluate_labels(
    distances: Distances,
    query_labels: Array,
    database_labels: Array,
    protocols: Protocols,
    *,
    block: int = 256,
    progress: Progress = None,
    each: bool = False,
) -> list[Figure]:
    """Judge rankings where an item is relevant to a query when they share at least one label.

    Relevance is worked out a block of queries at a time: at most about 10 * block * items bytes of memory.

    Parameters
    ----------
    query_labels : (queries, c) bool or integer multi-hot; a row of zeros has no relevant item
    database_labels : (items, c) bool or integer multi-hot
    distances, protocols, block, progress, each, returns
        As :func:`evaluate_ranking`.

    Raises
    ------
    UsageError
        As :func:`evaluate_ranking`.
    DataError
        As :func:`evaluate_ranking`; also labels of different width, negative or not integer.
    """
    _check_labels("query_labels", query_labels)
    _check_labels("database_labels", database_labels)
    if query_labels.shape[1] != database_labels.shape[1]:
        raise DataError(
            f"expected one label set for queries and database, got {query_labels.shape[1]} and "
            f"{database_labels.shape[1]} columns"
        )
    columns = np.ascontiguousarray((database_labels != 0).T, dtype=np.float32)

    def relevance(rows: slice) -> Array:
        shared: Array = (query_labels[rows] != 0).astype(np.float32) @ columns > 0
        return shared

    shape = len(query_labels), len(database_labels)
    return _judge(distances, relevance, shape, protocols, block, progress, each)


def chance(protocols: Protocols, query_labels: Array, database_labels: Array) -> list[Figure]:
    """What a random ranking reaches: every item tied. All else is as in :func:`evaluate_labels`."""
    tied = np.broadcast_to(np.float32(0), (len(query_labels), len(database_labels)))
    return evaluate_labels(tied, query_labels, database_labels, protocols)


def _judge(
    distances: Distances,
    relevance: Callable[[slice], Array],
    shape: tuple[int, ...],
    protocols: Protocols,
    block: int,
    progress: Progress,
    each: bool,
) -> list[Figure]:
    parsed = parse_protocols(protocols)
    for protocol in parsed:
        if protocol.row == INSTANCE:
            raise UsageError(f"{protocol} needs to know each query's own item: use evaluate_instances")
    n_queries, n_items = shape
    # Several protocols may share their score: pr-curve's is that of map@all.
    columns: dict[tuple[Scoring, int], list[Score]] = {_scoring(protocol): [] for protocol in parsed}
    ranks = hits.curve_ranks(n_items if n_queries else 0)
    curve = np.zeros((2, 3, len(ranks)))
    with_curve = any(protocol.row == "pr-curve" for protocol in parsed)
    empty = 0
    for rows, found in distance_blocks(distances, n_queries, n_items, block, progress):
        for row_distances, row_gains in zip(found, relevance(rows), strict=True):
            ranking = rank(row_distances, row_gains)
            empty += ranking.relevant == 0
            for (score, cut), column in columns.items():
                column.append(score(ranking, cut))
            if with_curve:
                curve += hits.curve(ranking, ranks)
    points = _points(ranks, curve / max(n_queries, 1))
    figures = []
    for protocol in parsed:
        column = columns[_scoring(protocol)]
        figures.append(
            Figure(
                protocol.name,
                *(first_hit.median(column) if protocol.row == "median-rank" else average(column)),
                queries=n_queries,
                skipped=float(n_queries - sum(score.counted for score in column)),
                empty=empty,
                points=points if protocol.row == "pr-curve" else (),
                each=each_query(column) if each else (),
            )
        )
    return figures


def _scoring(protocol: Protocol) -> tuple[Scoring, int]:
    return SCORES[protocol.row], protocol.cut or 0


def _points(ranks: npt.NDArray[np.int64], curve: npt.NDArray[Any]) -> tuple[CurvePoint, ...]:
    values = np.moveaxis(curve, 2, 0).tolist()
    return tuple(
        CurvePoint(place, Spread(*recall), Spread(*precision))
        for place, (recall, precision) in zip(ranks.tolist(), values, strict=True)
    )


def _check_labels(name: str, labels: Array) -> None:
    check_matrix(name, labels)
    if labels.dtype.kind == "f" or (labels.dtype.kind == "i" and np.any(labels < 0)):
        raise DataError(
            f"{name}: expected multi-hot bool or integers >= 0, got negative ones or {labels.dtype}"
        )
