"""What ``spdq index build`` learns codebooks from where there is no model: vectors, and queries of any modality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq.data.codes import Codes
from spdq.data.dataset import Dataset
from spdq.errors import DataError, SpdqError, UsageError
from spdq.index.building import ArraySource
from spdq_cli.sources import DatasetSource, chosen_rows, file_facts, load_array

TRAINING_ITEMS = 100_000
"""Vectors, and queries, that product codebooks are learned from at most."""
ADDITIVE_TRAINING_ITEMS = 20_000
"""The same for additive codebooks, which learn far more slowly."""


@dataclass(frozen=True)
class CodebookOptions:
    """How codebooks are learned; ``bits`` None is 64."""

    bits: int | None = None
    opq: bool = False
    aq: bool = False
    queries: tuple[Path, ...] = ()
    seed: int = 0

    def facts(self) -> dict[str, Any]:
        """What tells one build from another. Raises as ``load_queries``."""
        for path in self.queries:
            load_queries(path)
        given = [file_facts(path) for path in self.queries]
        return {"bits": self.bits, "opq": self.opq, "aq": self.aq, "queries": given, "seed": self.seed}

    def typed(self) -> bool:
        """Whether any was asked for, but the seed."""
        return bool(self.bits or self.opq or self.aq or self.queries)

    def needs_ip(self) -> bool:
        """Whether the codes are searched by inner product alone."""
        return self.aq or bool(self.queries)

    def learn(self, vectors: ArraySource, own_queries: Sequence[ArraySource] = ()) -> object:
        """A quantizer fitted on a sample of vectors for ``queries``, or else for ``own_queries``.

        Raises UsageError, DataError, NotFoundError.
        """
        from spdq.quantizers import AdditiveQuantizer, ProductQuantizer

        bits = self.bits or 64
        if bits % 8:
            raise UsageError(f"bits must be a multiple of 8, got {bits}")
        if self.opq and self.aq:
            raise UsageError("--opq is for product codes, --aq makes additive ones: choose one of them")
        asked = [ArraySource(load_queries(path)) for path in self.queries] or own_queries
        samples = [one.sample(TRAINING_ITEMS, self.seed) for one in asked]
        if len({sample.shape[1] for sample in samples}) > 1:
            raise DataError(f"--queries must be of one width, got {[sample.shape for sample in samples]}")
        queries = np.concatenate(samples) if samples else None
        if self.aq:
            additive = AdditiveQuantizer(bits // 8, random_state=self.seed)
            return additive.fit(vectors.sample(ADDITIVE_TRAINING_ITEMS, self.seed), queries=queries)
        product = ProductQuantizer(bits // 8, rotation="opq" if self.opq else "none", random_state=self.seed)
        return product.fit(vectors.sample(TRAINING_ITEMS, self.seed), queries=queries)


def load_queries(path: Path) -> NDArray[Any]:
    """Vectors (m, D) of a .npy file, mapped. Raises NotFoundError, DataError."""
    array = load_array(path)
    if array.ndim != 2 or array.dtype.kind != "f":
        raise DataError(f"{path}: expected queries (m, D) of floats, got {array.dtype} {array.shape}")
    return array


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Items of a data set whose features lie in one space already, and what asks for them: both modalities."""

    items: DatasetSource
    vectors: ArraySource
    queries: tuple[ArraySource, ...]


def embeddings(source: Path, modality: str | None, rows: str | None) -> Embeddings:
    """A data set of embeddings, to be searched without a model.

    Raises
    ------
    UsageError
        It needs a model: an extractor, or words, made its features, images and texts have different widths, or
        units are asked for.
    DataError
        It has no such features, or no split.
    """
    modality = modality or "image"
    needs_model = UsageError(
        f"{source} needs --model MODEL_DIR, the trained model (only .npy files, and images or texts of data sets of "
        "embeddings of one width, do without)"
    )
    try:
        dataset = Dataset.load(source)
    except DataError:
        if _is_codes(source):
            raise needs_model from None
        raise
    found = {"image": dataset.image_features, "text": dataset.text_features}
    arrays = {name: array for name, array in found.items() if isinstance(array, np.ndarray)}
    is_sparse = dataset.text_features is not None and "text" not in arrays
    is_raw = dataset.image_extractor is not None or dataset.vocabulary is not None or is_sparse
    if modality == "unit" or is_raw or len({array.shape[1] for array in arrays.values()}) > 1:
        raise needs_model
    if modality not in arrays:
        raise DataError(f"{source} has no /{modality}/features")
    chosen = chosen_rows(dataset, source, rows)
    features = arrays[modality]
    facts = file_facts(source) | {"rows": rows}
    items = DatasetSource(features.__getitem__, dataset, modality, chosen, facts)
    taken = {name: ArraySource(array[chosen]) for name, array in arrays.items()}
    return Embeddings(items, taken[modality], tuple(taken.values()) if len(taken) == 2 else ())


def _is_codes(source: Path) -> bool:
    try:
        Codes.load(source)
    except SpdqError:
        return False
    return True
