"""Slow plain twins of what quantizers are learned for."""

from __future__ import annotations

import numpy as np


def squared_product_error(errors, queries, ridge, prior):
    """Mean square, over queries and as many of any direction, of what errors (n, D) change an inner product by.

    Of ``queries`` (m, D) the directions count; queries of any direction, whose mean square is that over the axes, count
    ``ridge + prior / m`` beside them.
    """
    directions = [query / np.sqrt(sum(query**2)) for query in queries if any(query)]
    axes = np.eye(errors.shape[1])
    found = []
    for error in errors:
        known = sum(float(sum(query * error)) ** 2 for query in directions) / len(directions)
        any_direction = sum(float(sum(axis * error)) ** 2 for axis in axes) / len(axes)
        found.append(known + (ridge + prior / len(directions)) * any_direction)
    return np.array(found)
