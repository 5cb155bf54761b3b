"""Made pairs for the tests of baselines: classes with a centre in each modality and noise around them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq.evaluation import evaluate_labels
from spdq_benchmarks.baselines.contract import Baseline, Pairs


def class_pairs(
    n: int, classes: int, seed: int, d_image: int = 20, d_text: int = 15, noise: float = 0.3
) -> Pairs:
    """``n`` pairs of ``classes`` classes, in turn (the first rows have one of each).

    A class's centre has standard normal coordinates, each pair is its class's two centres plus normal noise of
    ``noise`` a coordinate, and has its class's label and no other. With the default noise classes do not touch.
    """
    return _drawn(n, classes, seed, d_image, d_text, noise, draw=0)


def held_out(
    n: int, classes: int, seed: int, d_image: int = 20, d_text: int = 15, noise: float = 0.3
) -> Pairs:
    """``n`` other pairs of the very classes of ``class_pairs`` with the same arguments."""
    return _drawn(n, classes, seed, d_image, d_text, noise, draw=1)


def precision(method: Baseline, queries: Pairs, database: Pairs) -> tuple[float, float]:
    """map@all, ties in expectation, of image queries to texts' codes and of text queries to images' codes."""
    query_labels, labels = queries.labels, database.labels
    if query_labels is None or labels is None:
        raise ValueError("expected pairs with labels")
    figures = []
    for vectors, codes in (
        (method.embed_image(queries.image), method.encode_text(database.text)),
        (method.embed_text(queries.text), method.encode_image(database.image)),
    ):
        (found,) = evaluate_labels(method.distances(vectors, codes), query_labels, labels, ["map@all"])
        figures.append(found.value)
    return figures[0], figures[1]


def _drawn(n: int, classes: int, seed: int, d_image: int, d_text: int, noise: float, draw: int) -> Pairs:
    centres = np.random.default_rng([seed, 2])
    image_centres = centres.standard_normal((classes, d_image))
    text_centres = centres.standard_normal((classes, d_text))
    of = np.arange(n) % classes
    random = np.random.default_rng([seed, draw])
    image = image_centres[of] + noise * random.standard_normal((n, d_image))
    text = text_centres[of] + noise * random.standard_normal((n, d_text))
    return Pairs(_float32(image), _float32(text), np.eye(classes, dtype=np.uint8)[of])


def _float32(rows: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(rows, dtype=np.float32)
