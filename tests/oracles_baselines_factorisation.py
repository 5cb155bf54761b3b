"""Slow plain twins of the factorising, kernel and composite baselines: loops, generic solvers, one item at a time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import exp, log

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

Matrix = NDArray[np.float64]


def cmfh_objective(views: list[Matrix], latent: Matrix, bases: list[Matrix], maps: list[Matrix]) -> float:
    """The sum over both views, weights 1/2, mu = 100 and gamma = 20, entry by entry."""
    total = 0.0
    for view, base, mapped in zip(views, bases, maps, strict=True):
        for row, hidden in zip(view, latent, strict=True):
            total += 0.5 * float(np.sum((row - hidden @ base) ** 2))
            total += 0.5 * 100 * float(np.sum((hidden - row @ mapped) ** 2))
        for matrix in (base, mapped, latent):
            total += 0.5 * 20 * float(np.sum(matrix**2))
    return total


def stmh_objective(
    image: Matrix,
    text: Matrix,
    topics: Matrix,
    centroids: Matrix,
    factors: Matrix,
    basis: Matrix,
    link: Matrix,
) -> float:
    """Both weights 1/2, lambda = 1/2, gamma = 1e-4; topics by topics, item by item."""
    total = 0.0
    for i in range(len(image)):
        total += 0.5 * float(np.sqrt(np.sum((image[i] - factors[i] @ basis) ** 2) + 1e-8))
        for j in range(len(centroids)):
            total += 0.5 * topics[i, j] * float(np.sum((text[i] - centroids[j]) ** 2))
        total += 0.5 * float(np.sum((topics[i] - factors[i] @ link) ** 2))
    return total + 1e-4 * sum(float(np.sum(m**2)) for m in (basis, centroids, factors, link))


def cheapest_half(costs: Matrix) -> Matrix:
    """For each row the half of the columns of the least total cost, by trying every half."""
    chosen = np.zeros_like(costs)
    for row, cost in zip(chosen, costs, strict=True):
        halves = combinations(range(len(cost)), len(cost) // 2)
        row[list(min(halves, key=lambda half: sum(cost[list(half)])))] = 1
    return chosen


def sparse_code(target: Matrix, atoms: Matrix, share: float) -> Matrix:
    """``min 1/2 |y - s D|^2 + share |D y|_inf |s|_1`` by very many steps of proximal gradient descent."""
    penalty = share * np.abs(atoms @ target).max()
    rate = 1 / np.linalg.norm(atoms, 2) ** 2
    code = np.zeros(len(atoms))
    for _ in range(20_000):
        moved = code - rate * (atoms @ (code @ atoms - target))
        code = np.sign(moved) * np.maximum(np.abs(moved) - rate * penalty, 0)
    return code


def best_atoms(codes: Matrix, targets: Matrix, start: Matrix) -> Matrix:
    """``min |targets - codes @ atoms|^2`` with atoms no longer than 1, by a general solver."""
    shape = start.shape

    def loss(flat: Matrix) -> float:
        return float(np.sum((targets - codes @ flat.reshape(shape)) ** 2))

    room = {"type": "ineq", "fun": lambda flat: 1 - (flat.reshape(shape) ** 2).sum(axis=1)}
    found = optimize.minimize(
        loss, start.ravel(), method="SLSQP", constraints=[room], options={"maxiter": 500, "ftol": 1e-12}
    )
    solved: Matrix = found.x.reshape(shape)
    return solved


def label_affinities(labels: NDArray[np.uint8]) -> Matrix:
    """Cosines of label rows off the diagonal, divided by their sum."""
    n = len(labels)
    found = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            lengths = np.linalg.norm(labels[i].astype(float)) * np.linalg.norm(labels[j].astype(float))
            if i != j and lengths:
                found[i, j] = float(labels[i].astype(float) @ labels[j]) / lengths
    normalised: Matrix = found / found.sum()
    return normalised


def seph_objective(affinities: Matrix, codes: Matrix, alpha: float) -> float:
    """``KL(P | Q) + alpha / (n c) ||H| - 1|^2``, pair by pair."""
    n, bits = codes.shape
    close = {
        (i, j): 1 / (1 + float(np.sum((codes[i] - codes[j]) ** 2)) / 4)
        for i in range(n)
        for j in range(n)
        if i != j
    }
    total = sum(close.values())
    divergence = sum(
        affinities[pair] * log(affinities[pair] / (value / total))
        for pair, value in close.items()
        if affinities[pair] > 0
    )
    return float(divergence + alpha / (n * bits) * np.sum((np.abs(codes) - 1) ** 2))


def logistic_weights(kernel: Matrix, centres_kernel: Matrix, bits: NDArray[np.bool_], ridge: float) -> Matrix:
    """``min sum log(1 + exp(-h k w)) + ridge w' K0 w`` for one bit (n,) by Newton's method."""
    signs = np.where(bits, 1.0, -1.0)
    weights = np.zeros(kernel.shape[1])
    for _ in range(100):
        wrong = np.array(
            [1 / (1 + exp(min(h * (row @ weights), 500))) for row, h in zip(kernel, signs, strict=True)]
        )
        slope = -kernel.T @ (signs * wrong) + 2 * ridge * centres_kernel @ weights
        curve = (kernel.T * (wrong * (1 - wrong))) @ kernel + 2 * ridge * centres_kernel
        weights = weights - linalg.solve(curve, slope)
    return weights


def numeric_slopes(loss: Callable[[Matrix], float], at: Matrix, width: float = 1e-5) -> Matrix:
    """Central differences of a function of a matrix, entry by entry."""
    slopes = np.zeros_like(at)
    for entry in np.ndindex(at.shape):
        ahead, behind = at.copy(), at.copy()
        ahead[entry] += width
        behind[entry] -= width
        slopes[entry] = (loss(ahead) - loss(behind)) / (2 * width)
    return slopes


def ccq_objective(views: list[Matrix], rotations: list[Matrix], decoded: Matrix) -> float:
    """``sum_v |X_v - C B R_v'|^2``, item by item."""
    return sum(
        float(np.sum((row - rotation @ common) ** 2))
        for view, rotation in zip(views, rotations, strict=True)
        for row, common in zip(view, decoded, strict=True)
    )


def composite_products(words: Matrix, code: NDArray[np.uint8]) -> float:
    """Sum over i, j with i != j of the inner products of the words that one code names."""
    named = [words[m, k] for m, k in enumerate(code)]
    return sum(float(a @ b) for i, a in enumerate(named) for j, b in enumerate(named) if i != j)


def composite_objective(
    words: Matrix,
    image: Matrix,
    text: Matrix,
    image_codes: NDArray[np.uint8],
    text_codes: NDArray[np.uint8],
    constant: float,
) -> float:
    """Both quantization errors, the distance of the decoded codes (gamma = 1) and the penalty (2 times 1)."""
    total = 0.0
    for x, y, p, q in zip(image, text, image_codes, text_codes, strict=True):
        decoded = [sum(words[m, k] for m, k in enumerate(code)) for code in (p, q)]
        total += float(np.sum((x - decoded[0]) ** 2) + np.sum((y - decoded[1]) ** 2))
        total += float(np.sum((decoded[0] - decoded[1]) ** 2))
        total += 2 * sum((composite_products(words, code) - constant) ** 2 for code in (p, q))
    return total


def left_out_error(kernel: Matrix, targets: Matrix, ridge: float) -> float:
    """Mean squared error of each row, predicted by the kernel ridge regression of all other rows."""
    n = len(kernel)
    total = 0.0
    for i in range(n):
        others = np.delete(np.arange(n), i)
        weights = np.linalg.solve(kernel[np.ix_(others, others)] + ridge * np.eye(n - 1), targets[others])
        total += float(np.sum((targets[i] - kernel[i, others] @ weights) ** 2))
    return total / targets.size
