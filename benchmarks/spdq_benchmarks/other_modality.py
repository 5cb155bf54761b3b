"""What codebooks should be learned from where texts ask for images: ``spdq bench queries``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spdq.data.dataset import Dataset
from spdq.errors import DataError
from spdq.evaluation import evaluate_instances
from spdq.models.model import Model
from spdq.models.rows import text_features
from spdq.quantizers import AdditiveQuantizer, ProductQuantizer
from spdq_benchmarks.evaluation import distances_to_codes, vector_distances

Floats = NDArray[np.float32]

NEAREST = 10
DEPTHS = (10, 100)
TEST_QUERIES = 500
LEARNING_ITEMS = 20_000
ORDER = 100
"""Seed of the order that splits queries; not of the run, so that test queries stay what nothing was chosen on."""
CODES = ("opq", "aq")
LEARNED = ("images", "images and texts", "images for texts", "images for both")
"""What the codebooks are learned from: images alone; both modalities as if both were searched; images with texts as
queries; images with texts and images as queries."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Images (n, D), texts (m, D), the row (m,) of each text's own image."""

    name: str
    images: Floats
    texts: Floats
    own: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Queries:
    """Texts to learn for, and queries of both modalities to judge by; no item is behind both."""

    learned: Floats
    texts: Floats
    own: NDArray[np.int64]
    images: Floats


@dataclass(frozen=True)
class Row:
    """One way to learn, judged. ``kept_at``: the share of the 10 nearest vectors among the nearest 10 and 100 codes."""

    pairs: str
    codes: str
    bits: int
    learned: str
    seed: int
    texts_kept_at: tuple[float, ...]
    images_kept_at: tuple[float, ...]
    own_found: float
    """``instance-recall@10`` of the texts."""


def made_pairs(n_items: int, n_texts: int, seed: int) -> Pairs:
    """Unit vectors (n, 128) of two modalities in one space, with what is known of CLIP's: each modality lies around a
    mean of its own (length 1.6 beside a spread of about 2), 32 directions are shared, 48 vary in images alone and 48 in
    texts alone, the k-th as much as k^-.5. Items are drawn around 500 topics.
    """
    random = np.random.default_rng([seed, 7])
    axes = np.linalg.qr(random.standard_normal((128, 128)))[0]
    sizes = np.arange(1, 49) ** -0.5
    shared, of_images, of_texts = (
        part.T * sizes[: part.shape[1], None] for part in np.split(axes, [32, 80], axis=1)
    )
    means = random.standard_normal((2, 128))
    means *= 1.6 / np.linalg.norm(means, axis=1, keepdims=True)
    topics = random.standard_normal((500, 32))
    things = topics[random.integers(0, 500, n_items)] + 0.7 * random.standard_normal((n_items, 32))
    own = random.choice(n_items, n_texts, replace=False)
    said = things[own] + 0.5 * random.standard_normal((n_texts, 32))
    images = means[0] + things @ shared + random.standard_normal((n_items, 48)) @ of_images
    texts = means[1] + said @ shared + random.standard_normal((n_texts, 48)) @ of_texts
    images, texts = (
        _of_length_1(rows + 0.05 * random.standard_normal(rows.shape)) for rows in (images, texts)
    )
    return Pairs("made", images, texts, own)


def pairs_of(dataset: Dataset, model: Model | None) -> Pairs:
    """The items of a data set: as a model embeds them, each line of a text a query; without a model its features.

    Raises
    ------
    DataError
        It has not both modalities, or they have different widths.
    """
    own = np.arange(len(dataset))
    if dataset.image_features is None:
        raise DataError(f"data set {dataset.name} has no /image/features")
    if model is None:
        images, texts = dataset.image_features, dataset.text_features
        if texts is None or sparse.issparse(texts) or texts.shape[1] != images.shape[1]:
            raise DataError(
                f"data set {dataset.name} has no texts in the space of its images: name a model (--model)"
            )
    else:
        images = model.embed_image(dataset.image_features)
        if dataset.text_features is None and dataset.texts is not None:
            lines = [
                (row, line)
                for row, text in enumerate(dataset.texts)
                for line in text.splitlines()
                if line.strip()
            ]
            own = np.array([row for row, _ in lines])
            texts = model.embed_text(model.text_features([line for _, line in lines]))
        else:
            texts = model.embed_text(text_features(model, dataset, own))
    known = np.asarray(texts).any(axis=1)
    if np.count_nonzero(known) < 2 * NEAREST:
        raise DataError(f"data set {dataset.name}: expected {2 * NEAREST} texts that are not empty")
    wide = [_padded(np.asarray(rows, np.float32)) for rows in (images, np.asarray(texts)[known])]
    return Pairs(dataset.name, wide[0], wide[1], own[known])


def split_queries(pairs: Pairs, develop: bool, n_learned: int | None = None) -> Queries:
    """Queries of half of the items are learned for, a quarter is there to choose settings by, a quarter to judge.

    Of the first half at most ``n_learned`` are taken.
    """
    items = np.random.default_rng(ORDER).permutation(np.unique(pairs.own))
    learned, development, test = np.split(items, [len(items) // 2, len(items) * 3 // 4])
    judged = development if develop else test
    rows = np.flatnonzero(np.isin(pairs.own, judged))
    rows = np.sort(np.random.default_rng(ORDER).permutation(rows)[:TEST_QUERIES])
    known = np.random.default_rng(ORDER).permutation(np.flatnonzero(np.isin(pairs.own, learned)))
    return Queries(
        pairs.texts[known[:n_learned]],
        pairs.texts[rows],
        pairs.own[rows],
        pairs.images[judged[:TEST_QUERIES]],
    )


def judge_learning(
    pairs: Pairs,
    queries: Queries,
    codes: Sequence[str],
    bits: Sequence[int],
    seed: int,
    say: Callable[[str], None],
) -> Iterator[Row]:
    """A row for each kind of code, length and way to learn, and before them one of the vectors themselves."""
    random = np.random.default_rng([seed, 8])
    images, texts = (random.permutation(rows)[:LEARNING_ITEMS] for rows in (pairs.images, queries.learned))
    exact = [vector_distances(asked, pairs.images)(slice(None)) for asked in (queries.texts, queries.images)]
    nearest = [_first(distances, NEAREST) for distances in exact]
    yield Row(
        pairs.name, "vectors", 32 * pairs.images.shape[1], "", seed, (1, 1), (1, 1), _own(queries, exact[0])
    )
    both = np.concatenate([texts, random.permutation(images)[: len(texts)]])
    ways: dict[str, tuple[Floats, Floats | None]] = {
        "images": (images, None),
        "images and texts": (np.concatenate([images, texts]), None),
        "images for texts": (images, texts),
        "images for both": (images, both),
    }
    for kind in codes:
        for n_bits in bits:
            for learned in LEARNED:
                vectors, asked = ways[learned]
                say(f"{pairs.name}: {kind}, {n_bits} bits, {learned}, seed {seed}")
                fitted = _quantizer(kind, n_bits, seed).fit(vectors, queries=asked)
                coded = fitted.encode(pairs.images)
                found = [
                    distances_to_codes(fitted.codebooks_, asked_with, coded)(slice(None))
                    for asked_with in (queries.texts, queries.images)
                ]
                kept = [
                    tuple(_kept(near, _first(distances, depth)) for depth in DEPTHS)
                    for near, distances in zip(nearest, found, strict=True)
                ]
                yield Row(pairs.name, kind, n_bits, learned, seed, kept[0], kept[1], _own(queries, found[0]))


def table(rows: Sequence[Row]) -> str:
    """Means over seeds, and the largest difference of two seeds, as Markdown."""
    head = ["codes", "bits", "learned from", "texts: 10-recall@10", "@100", "instance-recall@10"]
    head += ["images: 10-recall@10", "@100"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    widest = 0.0
    cells: dict[tuple[Any, ...], list[tuple[float, ...]]] = {}
    for row in rows:
        values = (*row.texts_kept_at, row.own_found, *row.images_kept_at)
        cells.setdefault((row.codes, row.bits, row.learned), []).append(values)
    for key, of_seeds in cells.items():
        figures = np.array(of_seeds)
        widest = max(widest, float(np.ptp(figures, axis=0).max()))
        shown = [f"{mean:.3f}".removeprefix("0") for mean in figures.mean(axis=0)]
        lines.append("| " + " | ".join([*map(str, key), *shown]) + " |")
    n_seeds = len({row.seed for row in rows})
    lines += [
        "",
        f"Means of {n_seeds} seeds, which differ by at most {widest:.3f}." if n_seeds > 1 else "One seed.",
    ]
    return "\n".join(lines)


def _quantizer(kind: str, bits: int, seed: int) -> Any:
    if kind == "aq":
        return AdditiveQuantizer(bits // 8, random_state=seed)
    return ProductQuantizer(bits // 8, rotation="opq", random_state=seed)


def _first(distances: Floats, count: int) -> NDArray[np.int64]:
    """The ``count`` nearest (nq, count) as the index orders them, by distance, then by row."""
    return np.argsort(distances, axis=1, kind="stable")[:, :count]


def _kept(nearest: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    return float(np.mean([np.isin(near, got).mean() for near, got in zip(nearest, found, strict=True)]))


def _own(queries: Queries, distances: Floats) -> float:
    (figure,) = evaluate_instances(lambda rows: distances[rows], queries.own, ["instance-recall@10"])
    return figure.value


def _of_length_1(rows: NDArray[np.float64]) -> Floats:
    scaled: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def _padded(rows: Floats) -> Floats:
    """With columns of zeros up to a multiple of 16, so that product codes of all lengths can be compared."""
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 16)))
