"""Slow plain twins of the losses of DCMH, PRDH, CHN, Corr-AE and CDQ, one loop an index."""

from __future__ import annotations

import math


def inner(a, b):
    return sum(float(p) * float(q) for p, q in zip(a, b, strict=True))


def squared_distance(a, b):
    return sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True))


def length(a):
    return math.sqrt(inner(a, a))


def shares_a_label(labels, others):
    return [[float(any(p and q for p, q in zip(a, b, strict=True))) for b in others] for a in labels]


def negative_log_likelihood(product, similar, weight):
    return (math.log(1 + math.exp(product)) - similar * product) * (weight if similar else 1)


def mean_likelihood(outputs, others, similar, weight):
    """Over all pairs, of half the inner products."""
    total = 0.0
    for i, output in enumerate(outputs):
        for j, other in enumerate(others):
            total += negative_log_likelihood(inner(output, other) / 2, float(similar[i][j]), weight)
    return total / (len(outputs) * len(others))


def dcmh_pull(outputs, signs, gamma, eta):
    """DCMH's quantization and balance of a batch."""
    total = 0.0
    for output, sign in zip(outputs, signs, strict=True):
        total += gamma * squared_distance(output, sign)
    for d in range(len(outputs[0])):
        total += eta * sum(float(output[d]) for output in outputs) ** 2
    return total


def squared_covariances(outputs):
    """PRDH's J4."""
    n, dim = len(outputs), len(outputs[0])
    means = [sum(float(row[d]) for row in outputs) / n for d in range(dim)]
    total = 0.0
    for d in range(dim):
        for e in range(dim):
            covariance = sum((row[d] - means[d]) * (row[e] - means[e]) for row in outputs) / n
            total += covariance**2 / 2 if d != e else 0.0
    return total


def cosine_margin(a, b, similar, margin):
    """CHN's L of one pair."""
    sign = 1 if similar else -1
    return max(0.0, margin - sign * inner(a, b) / (length(a) * length(b))) ** 2


def sign_margin(a, margin):
    """CHN's Q of one item."""
    return max(0.0, margin - sum(abs(float(p)) for p in a) / (length(a) * math.sqrt(len(a))))


def correspondence(x, x_again, f, y, y_again, g, alpha):
    """Corr-AE's loss of one pair."""
    lost = squared_distance(x, x_again) + squared_distance(y, y_again)
    return (1 - alpha) * lost + alpha * squared_distance(f, g)
