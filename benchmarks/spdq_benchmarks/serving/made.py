"""An index of random codes to search, and requests that search it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spdq.index import Index
from spdq.quantizers.codebooks import Codebooks
from spdq_benchmarks.serving.connections import post

if TYPE_CHECKING:
    from spdq.models.model import Model

DIM = 64
K = 10
N_REQUESTS = 200
WORDS = (
    "cat",
    "dog",
    "house",
    "river",
    "red",
    "small",
    "old",
    "running",
    "music",
    "people",
    "street",
    "night",
)
_ADDED_AT_ONCE = 1_000_000


def make_index(path: Path, n_rows: int, seed: int, model: Path | None) -> Model | None:
    """Random codes under int ids: of 8 codebooks of 256 words, or of a model's own, which is returned."""
    random = np.random.default_rng(seed)
    loaded = None
    if model is not None:
        from spdq.models import load_model

        loaded = load_model(model)
    codebooks = (
        Codebooks(random.normal(size=(8, 256, DIM // 8)).astype(np.float32), "product")
        if loaded is None
        else loaded.codebooks
    )
    fingerprint = None if loaded is None else loaded.fingerprint
    with Index.create(path, codebooks, "ip", "int", fingerprint, model) as index:
        for start in range(0, n_rows, _ADDED_AT_ONCE):
            count = min(_ADDED_AT_ONCE, n_rows - start)
            codes = random.integers(0, codebooks.n_words, (count, codebooks.n_codebooks), np.uint8)
            index.add_codes(codes, np.arange(start, start + count))
        index.compact()
    return loaded


def vector_requests(dim: int, seed: int) -> list[bytes]:
    """Searches by random vectors."""
    random = np.random.default_rng(seed + 1)
    vectors = random.normal(size=(N_REQUESTS, dim)).astype(np.float32)
    return [_search({"vector": [round(float(value), 5) for value in vector]}) for vector in vectors]


def texts(model: Model, seed: int) -> list[str]:
    """Three words each: of those that a model knows, or any where it knows none by name."""
    from spdq.features.words import WordExtractor

    random = np.random.default_rng(seed + 2)
    extractor = model.text_extractor
    words = extractor.vocabulary if isinstance(extractor, WordExtractor) else WORDS
    return [
        " ".join(words[place] for place in random.integers(len(words), size=3)) for _ in range(N_REQUESTS)
    ]


def text_requests(model: Model, seed: int) -> list[bytes]:
    """Searches by ``texts``."""
    return [_search({"text": text}) for text in texts(model, seed)]


def _search(asked: dict[str, object]) -> bytes:
    return post("/v1/search", json.dumps(asked | {"k": K}).encode())
