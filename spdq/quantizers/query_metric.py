"""Errors as queries see them: what makes codebooks serve queries of another modality than the vectors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spdq.errors import DataError
from spdq.quantizers.codebooks import Codebooks, Floats, checked_vectors
from spdq_kernels import project

RIDGE = 0.1
"""Share of queries of any direction, with equal chances, that are expected beside those of the sample."""
PRIOR_QUERIES = 10
"""How many such queries are added to the sample: two queries or three say little of the others."""

_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class QueryMetric:
    """The root W of the queries' second moment S = E[q q'], and its inverse, (D, D) float64, symmetric.

    The error e of a vector changes the inner product with a query q by q'e; over all queries the mean square of that
    is e' S e, the squared length of W e. So what any quantizer does in the coordinates ``W x`` is best for the
    queries, and ``q'x = (W^-1 q)'(W x)`` is still the inner product that is searched by. (QUIP-cov(q) of Guo et al.,
    AISTATS 2016, does so in each part of a product code; here all directions are seen at once.)
    """

    root: NDArray[np.float64]
    inverse: NDArray[np.float64]

    @classmethod
    def of(cls, queries: ArrayLike, dim: int) -> QueryMetric:
        """The metric of queries (m, dim) float. Each counts alike: how a query ranks does not depend on its length.

        Raises
        ------
        DataError
            Another width, not finite, too large, or none that is not zero.
        """
        checked = checked_vectors(queries, "queries")
        if checked.shape[1] != dim:
            raise DataError(f"queries must have {dim} columns as the vectors have, not {checked.shape[1]}")
        moment, count = np.zeros((dim, dim)), 0
        for start in range(0, len(checked), _AT_ONCE):
            rows = checked[start : start + _AT_ONCE].astype(np.float64)
            lengths = np.linalg.norm(rows, axis=1)
            rows = rows[lengths > 0] / lengths[lengths > 0, None]
            moment += rows.T @ rows
            count += len(rows)
        if not count:
            raise DataError(f"expected at least one query that is not zero, got {len(checked)} queries")
        values, directions = np.linalg.eigh(moment / count)
        values = np.maximum(values, 0) + (RIDGE + PRIOR_QUERIES / count) / dim
        # So small that no coordinate becomes larger than a vector may hold.
        roots = np.sqrt(values / (values.max() * dim))
        return cls((directions * roots) @ directions.T, (directions / roots) @ directions.T)

    def vectors(self, vectors: Floats) -> Floats:
        """Vectors (n, D) float32 in coordinates in which all directions count alike."""
        return project(vectors, self.root.astype(np.float32))

    def codebooks(self, learned: Codebooks) -> Codebooks:
        """Codebooks for the vectors themselves, from those learned of ``vectors``."""
        rotation = np.eye(learned.dim) if learned.rotation is None else learned.rotation.astype(np.float64)
        return dataclasses.replace(
            learned,
            rotation=(self.root @ rotation).astype(np.float32),
            dual=(self.inverse @ rotation).astype(np.float32),
        )
