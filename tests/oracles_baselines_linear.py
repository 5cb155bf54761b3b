"""Slow plain twins of the linear baselines: loops, generic solvers, matrices that the methods never form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Matrix = NDArray[np.float64]


def centred(rows: NDArray[Any]) -> Matrix:
    exact = rows.astype(np.float64)
    return exact - exact.mean(axis=0)


def covariance(rows: Matrix, ridge: float) -> Matrix:
    """X'X / n with ``ridge`` times the mean variance on the diagonal."""
    found = sum(np.outer(row, row) for row in rows) / len(rows)
    return found + ridge * np.mean(np.diag(found)) * np.eye(len(found))


def canonical(
    x: Matrix, y: Matrix, ridge: float, cross: Matrix | None = None
) -> tuple[Matrix, Matrix, Matrix]:
    """Correlations, descending, with their directions, from the symmetric pencil [0 Cxy; Cyx 0] v = rho diag(C) v."""
    d = x.shape[1]
    mixed = x.T @ y / len(x) if cross is None else cross
    zeros = np.zeros((d, d)), np.zeros((y.shape[1], y.shape[1]))
    values, vectors = linalg.eigh(
        np.block([[zeros[0], mixed], [mixed.T, zeros[1]]]),
        linalg.block_diag(covariance(x, ridge), covariance(y, ridge)),
    )
    order = np.argsort(-values)[: min(d, y.shape[1])]
    # Both halves of such a vector have half of its length.
    return values[order], np.sqrt(2) * vectors[:d, order], np.sqrt(2) * vectors[d:, order]


def agree_up_to_sign(first: Matrix, second: Matrix, tolerance: float) -> bool:
    """Whether each column of one is the other's or minus that."""
    return all(
        min(np.abs(a - b).max(), np.abs(a + b).max()) <= tolerance
        for a, b in zip(first.T, second.T, strict=True)
    )


def quantization_loss(vectors: Matrix, rotation: Matrix) -> float:
    """|sign(V R) - V R|^2, entry by entry."""
    turned = vectors @ rotation
    return sum((abs(float(value)) - 1.0) ** 2 for value in turned.ravel())


def inter_media(x: Matrix, y: Matrix, bits: int, neighbours: int, coupling: float) -> tuple[Matrix, Matrix]:
    """Embeddings F_x, F_y (n, bits) of IMH as in its paper, pairs coupled by a finite weight; beta = lambda = 1."""
    n = len(x)
    unexplained, graphs = [], []
    for rows in (x, y):
        unexplained.append(np.eye(n) - rows @ np.linalg.inv(rows.T @ rows + np.eye(rows.shape[1])) @ rows.T)
        joined = np.zeros((n, n))
        for i in range(n):
            gaps = [np.inf if j == i else float(((rows[i] - rows[j]) ** 2).sum()) for j in range(n)]
            for j in np.argsort(gaps, kind="stable")[:neighbours]:
                joined[i, j] = joined[j, i] = 1
        graphs.append(np.diag(joined.sum(axis=1)) - joined)
    weight = coupling * np.eye(n)
    to_text = np.linalg.inv(unexplained[1] + graphs[1] + weight) @ weight
    gap = np.eye(n) - to_text
    total = (
        unexplained[0]
        + to_text.T @ unexplained[1] @ to_text
        + gap.T @ weight @ gap
        + graphs[0]
        + to_text.T @ graphs[1] @ to_text
    )
    _, vectors = np.linalg.eigh((total + total.T) / 2)
    return vectors[:, :bits], to_text @ vectors[:, :bits]


def boosted_bits(x: Matrix, y: Matrix, labels: NDArray[np.uint8], bits: int) -> tuple[Matrix, Matrix]:
    """Signs (n, bits) of CMSSH on its training items: pairs one by one, every threshold tried."""
    n = len(x)
    similar = np.array([[1.0 if (a & b).any() else -1.0 for b in labels] for a in labels])
    weights = np.where(similar > 0, 0.5 / (similar > 0).sum(), 0.5 / (similar < 0).sum())
    found: list[list[Matrix]] = [[], []]
    for _ in range(bits):
        total = np.zeros((x.shape[1], y.shape[1]))
        for i in range(n):
            for j in range(n):
                total += weights[i, j] * similar[i, j] * np.outer(x[i], y[j])
        left, _, right = np.linalg.svd(total)
        p, q = left[:, 0], right[0]
        flip = 1 if p[np.abs(p).argmax()] >= 0 else -1
        u, v = flip * x @ p, flip * y @ q
        h, g = np.where(u >= 0, 1.0, -1.0), np.where(v >= 0, 1.0, -1.0)
        for _ in range(5):
            before = h, g
            h = _best_signs(u, (weights * similar) @ g, h)
            g = _best_signs(v, (weights * similar).T @ h, g)
            if np.array_equal(before[0], h) and np.array_equal(before[1], g):
                break
        found[0].append(h)
        found[1].append(g)
        agreement = sum(weights[i, j] * similar[i, j] * h[i] * g[j] for i in range(n) for j in range(n))
        weights = weights * np.exp(-np.arctanh(agreement) * similar * np.outer(h, g))
        weights /= weights.sum()
    return np.stack(found[0], axis=1), np.stack(found[1], axis=1)


def _best_signs(projections: Matrix, gains: Matrix, current: Matrix) -> Matrix:
    """The signs of one cut with the largest sum of gains; ``current`` where no cut is better by more than rounding."""
    best, reached = current, float(gains @ current)
    if len(set(current)) == 1:
        reached = -np.inf
    for place in sorted(set(projections))[1:]:
        signs = np.where(projections >= place, 1.0, -1.0)
        if float(gains @ signs) > reached + 1e-9:
            best, reached = signs, float(gains @ signs)
    return best


def semantic_directions(
    x: Matrix, y: Matrix, labels: NDArray[np.uint8], bits: int, ridge: float
) -> tuple[Matrix, Matrix, list[float]]:
    """Directions of sequential SCM with its similarity and residue written out, and what is left of the residue."""
    n = len(x)
    similarity = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            lengths = np.sqrt(float(labels[i].sum()) * float(labels[j].sum()))
            shared = float((labels[i] & labels[j]).sum())
            similarity[i, j] = 2 * shared / lengths - 1 if lengths else -1
    residue = bits * similarity
    lefts, rights, sizes = [], [], []
    for _ in range(bits):
        _, left, right = canonical(x, y, ridge, x.T @ residue @ y / n)
        lefts.append(left[:, 0])
        rights.append(right[:, 0])
        signs = np.where(x @ left[:, 0] >= 0, 1.0, -1.0), np.where(y @ right[:, 0] >= 0, 1.0, -1.0)
        residue = residue - np.outer(*signs)
        sizes.append(float((residue**2).sum()))
    return np.stack(lefts, axis=1), np.stack(rights, axis=1), sizes


def ridge(rows: Matrix, targets: Matrix, penalty: float, asked: Matrix) -> Matrix:
    """Predictions for the asked rows: normal equations with an intercept that is not penalised."""
    mean, level = rows.mean(axis=0), targets.mean(axis=0)
    x, t = rows - mean, targets - level
    weights = np.linalg.inv(x.T @ x + penalty * np.eye(x.shape[1])) @ x.T @ t
    return (asked - mean) @ weights + level


def leave_one_out_error(rows: Matrix, targets: Matrix, penalty: float) -> float:
    """Mean squared error of each row predicted by a fit to all others."""
    errors = []
    for i in range(len(rows)):
        others = np.arange(len(rows)) != i
        predicted = ridge(rows[others], targets[others], penalty, rows[i : i + 1])
        errors.append(float(((predicted - targets[i]) ** 2).mean()))
    return float(np.mean(errors))
