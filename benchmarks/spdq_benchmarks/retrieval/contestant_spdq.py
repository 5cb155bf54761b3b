"""SPDQ's recipes as contestants, and the ablations of the paper's recipe that the paper does not have."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from spdq.data.dataset import Dataset
from spdq.models.rows import embed_rows, text_features
from spdq.models.spaces import AlignedSpace
from spdq.models.spdq import SPDQModel
from spdq.quantizers import ProductQuantizer
from spdq.quantizers.codebooks import Codebooks
from spdq.training.alternation import LabelRows
from spdq.training.codebooks import fit_codebooks
from spdq.training.recipes import TrainingRecipe, training_recipe
from spdq.training.rows import TrainingRows
from spdq.training.run import train_task
from spdq.training.spdq import SPDQTask
from spdq_benchmarks.evaluation import code_distances
from spdq_benchmarks.retrieval.contestant import (
    LEARNED_BITS,
    Codes,
    Contestant,
    Floats,
    Learned,
    Rows,
    stopwatch,
)
from spdq_benchmarks.retrieval.shared_rows import shared_rows

NO_WEIGHT = 1e-30
"""For lambda: float32 gradients lose it, so the networks never feel the alignment, yet C, Z and D are found in turn
(equations 17 to 23) and C maps the finished outputs to the label space by Procrustes' solution."""

FitCodes = Callable[[SPDQModel, TrainingRows, int, int], Codebooks]

CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "spdq": ("default", {}),
    "spdq-paper": ("paper", {}),
    "spdq-paper:no-mmd": ("paper", {"mean_embedding": 0.0}),
    "spdq-paper:no-private": ("paper", {"private": 0}),
    "spdq-paper:no-alignment": ("paper", {"alignment": NO_WEIGHT}),
    "spdq-paper:no-feedback": ("paper", {"quantization": 0.0}),
    "spdq-paper:product": ("paper", {}),
}
"""By method, the recipe and the settings changed in it. no-mmd: without L1. no-private: shared branch alone.
no-feedback: beta 0, so Z is fitted to the outputs without regard to the codes. product: OPQ for the additive
codebooks, fitted on the same Z L."""


def spdq_settings(method: str) -> dict[str, Any]:
    """Every number that a method is trained with."""
    quantizer = "product" if method.endswith(":product") else "additive"
    return {**dataclasses.asdict(_recipe(method)), "quantizer": quantizer, "learned_bits": LEARNED_BITS}


def _recipe(method: str) -> TrainingRecipe:
    name, changes = CHANGES[method]
    return dataclasses.replace(training_recipe(name), **changes)


def learn_spdq(method: str, dataset: Dataset, seed: int) -> LearnedSPDQ:
    """Train on the training rows of the data set's split. Raises what ``train_task`` raises."""
    recipe = _recipe(method)
    with stopwatch() as watch, warnings.catch_warnings():
        # Without a private branch torch makes a layer of no units, and says so.
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        model = train_task(SPDQTask, dataset, LEARNED_BITS, recipe, seed)
    data = shared_rows(dataset, recipe, seed).data
    return LearnedSPDQ(method, model, dataset, data, seed, watch.seconds)


class LearnedSPDQ(Learned):
    """A trained network; codebooks of other lengths than 64 bits are fitted to it."""

    def __init__(
        self,
        method: str,
        model: SPDQModel,
        dataset: Dataset,
        data: TrainingRows,
        seed: int,
        train_seconds: float,
    ) -> None:
        self.method, self.model, self.dataset, self.data = method, model, dataset, data
        self.seed, self.train_seconds = seed, train_seconds

    @property
    def floats(self) -> Contestant:
        return self._contestant(self.model, LEARNED_BITS, 0.0)

    def with_bits(self, bits: int) -> Contestant:
        fit: FitCodes = fit_product if self.method.endswith(":product") else fit_codebooks
        if fit is fit_codebooks and bits == LEARNED_BITS:
            return self.floats
        model = copy.copy(self.model)
        with stopwatch() as watch:
            model.codebooks = fit(model, self.data, bits, self.seed)
        return self._contestant(model, bits, watch.seconds)

    def _contestant(self, model: SPDQModel, bits: int, code_seconds: float) -> Contestant:
        settings = spdq_settings(self.method)
        return SPDQContestant(bits, settings, self.train_seconds, code_seconds, model, self.dataset)


def fit_product(model: SPDQModel, data: TrainingRows, bits: int, seed: int) -> Codebooks:
    """OPQ codebooks of Z L, one row for each distinct label row, weighted by how often it occurs.

    What ``fit_codebooks`` fits additive ones on for the paper's recipe, whose models alone have a Z.
    """
    if not isinstance(model.space, AlignedSpace):
        raise TypeError(f"expected a model with label prototypes, got one with a {model.space.kind} space")
    labels = LabelRows.of(data.labels[data.train].numpy())
    quantizer = ProductQuantizer(bits // 8, rotation="opq", random_state=seed % (1 << 32))
    return quantizer.fit(model.space.label_vectors(labels.rows), sample_weight=labels.counts).codebooks_


class SPDQContestant(Contestant):
    """A trained model, asked as ``spdq evaluate`` asks it."""

    def __init__(
        self,
        bits: int,
        settings: dict[str, Any],
        train_seconds: float,
        code_seconds: float,
        model: SPDQModel,
        dataset: Dataset,
    ) -> None:
        super().__init__(bits, settings, train_seconds, code_seconds)
        self.model, self.dataset = model, dataset

    def images(self, rows: Rows) -> Floats:
        return embed_rows(self.model, self.dataset, "i", rows)

    def texts(self, rows: Rows, first_line: bool = False) -> Floats:
        return self.model.embed_text(text_features(self.model, self.dataset, rows, first_line))

    def units(self, images: Floats, texts: Floats) -> Floats:
        return self.model.space.units(images, texts)

    def weighted(self, queries: Floats) -> Floats:
        return self.model.weigh_query(queries, "text")  # SPDQ weighs both modalities' queries alike

    def encode(self, vectors: Floats) -> Codes:
        return self.model.codebooks.encode(vectors)

    def code_distances(self, queries: Floats, codes: Codes) -> NDArray[Any]:
        return code_distances(self.model.codebooks, queries, codes)
